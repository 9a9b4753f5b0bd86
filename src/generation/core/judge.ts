/**
 * Given tokens in place of chosen ones: what an answer that somebody else wrote costs, and how likely
 * it is. Nothing is sampled here.
 */
import type { SynchronousEngine, EnergyResult, Reading } from '../../energy/engine.js'
import { judge } from '../../refine/sampling.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Candidate } from './answer.js'
import type { RequestTable } from './request-table.js'
import type { Of, TokenLogprob } from '../protocol.js'
import type { RequestState } from './request-state.js'
import { logprobOf } from './token-selection.js'

/** Of tokens after the present context of a job, on its model's last landscape. */
export function tokenEnergy(
  engine: SynchronousEngine,
  { contextId }: RequestState,
  answer: readonly number[],
): EnergyResult {
  const [result] = engine.energy([{ contextId, answer, landscape: engine.model.landscapes - 1 }])
  if (result && Number.isFinite(result.energy)) return result
  throw new RangeError('the energy is not finite')
}

/** What the reading says of the given tokens that stand in its place. */
export function judgeTokens(
  { request, reading: given }: RequestState,
  reading: Reading,
  block: number,
  tokenizer: Tokenizer,
): TokenLogprob[] {
  const size = reading.logits.length / block
  return given.map((token, position) => {
    const logits = reading.logits.subarray(position * size, (position + 1) * size)
    return logprobOf(judge(logits, token, request.logprobs ?? 0), tokenizer)
  })
}

/**
 * The given tokens that the present answer stood for become context; the job ends with the last of
 * them if nothing is to follow. `candidate`: what was found in their place, if it was looked for.
 */
export function judged(
  jobs: RequestTable,
  state: RequestState,
  candidate: Candidate | undefined,
  judgement: Partial<Of<'scored'>>,
): void {
  jobs.emit(state, { type: 'scored', ...state.read(), ...judgement })
  const converged = candidate?.stopped === 'converged'
  const grown = state.proceed(candidate?.progress.steps ?? 0, converged)
  const last = state.full && state.reading.length === 0
  if (last || state.finishing) jobs.complete(state, undefined)
  else jobs.scheduler.commit(state.requestId, grown)
}

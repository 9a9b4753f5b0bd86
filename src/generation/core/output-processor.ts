/**
 * The last part of a tick: answers whose descent is over are judged, chosen from and read out; their
 * jobs end or go on to the next answer.
 */
import type { SynchronousEngine, Reading } from '../../energy/engine.js'
import { BasinError } from '../../errors.js'
import { landscapeOf } from '../../model/config.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { EngineCalls } from './engine-calls.js'
import type { RequestTable } from './request-table.js'
import { judged, judgeTokens, tokenEnergy } from './judge.js'
import { representationOf } from './embedding.js'
import type { Row, RequestState } from './request-state.js'
import { energySummary, readRow, takeTokens } from './token-selection.js'
import type { LandscapeProbes } from './landscape-probes.js'

const none = new Float32Array(0)

export class OutputProcessor {
  constructor(
    private readonly engine: SynchronousEngine,
    private readonly tokenizer: Tokenizer,
    private readonly jobs: RequestTable,
    private readonly calls: EngineCalls,
    private readonly surveys: LandscapeProbes,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** False where nothing waited for it. */
  settle(): boolean {
    const { scheduler, settling } = this.jobs
    if (settling.size === 0) return false
    const absent = [...settling].filter(({ requestId }) => !scheduler.isPresent(requestId))
    for (const state of absent) settling.delete(state)
    const some = settling.size > 0
    if (some) this.settlePresent()
    for (const state of absent) settling.add(state)
    return some
  }

  private settlePresent(): void {
    this.score()
    this.closeDescents()
    const rows = this.chooseCandidates()
    this.jobs.settling.clear()
    const readings = this.calls.run('read', rows, () =>
      this.engine.read(
        rows.map(({ state, answer, candidate }) =>
          readRow(state, answer, candidate, this.sizes.block),
        ),
      ),
    )
    readings?.forEach((reading, i) => {
      const row = rows[i] as Row
      this.calls.guard([row], () => {
        this.commit(row, reading, this.now())
      })
    })
  }

  /** Given answers whose energies are asked for: nothing has descended, and nothing is read. */
  private score(): void {
    for (const state of this.jobs.settling) {
      if (state.encoding) this.tellStates(state)
      if (!state.scoring) continue
      this.jobs.settling.delete(state)
      this.calls.run('read', [{ state }], () => {
        const { energy, terms } = tokenEnergy(this.engine, state, state.reading)
        judged(this.jobs, state, undefined, { energy, ...terms })
      })
    }
  }

  /** A text whose states are asked for has been observed. */
  private tellStates(state: RequestState): void {
    this.jobs.settling.delete(state)
    const representation = state.states.mean
    const tokens = state.promptTokens
    this.jobs.emit(state, { type: 'scored', text: '', tokens, representation })
    this.jobs.complete(state, undefined)
  }

  /** Judges the last states of settled answers, where their steps' energies do not. */
  private closeDescents(): void {
    const { model } = this.engine
    const rows = [...this.jobs.settling].flatMap((state): Row[] => {
      const { answer } = state
      const open = answer?.unclosed(model.energy.kind === 'residual') ?? []
      return answer ? open.map((candidate) => ({ state, answer, candidate })) : []
    })
    const results = this.calls.run('descend', rows, () =>
      this.engine.energy(
        rows.map(({ candidate: { slot, progress } }) => ({
          slot,
          landscape: landscapeOf(model, progress.steps),
        })),
      ),
    )
    results?.forEach((result, i) => {
      const { answer, candidate } = rows[i] as Row
      answer.close(candidate, result)
    })
  }

  private chooseCandidates(): Row[] {
    return [...this.jobs.settling].flatMap((state): Row[] => {
      const { answer } = state
      if (!answer) return []
      const candidate = answer.chosen()
      if (candidate) return [{ state, answer, candidate }]
      this.jobs.fail(state, new BasinError('engine_failed', { reason: 'the energy is not finite' }))
      return []
    })
  }

  /** The same for an answer whose token the engine chose, when the clock said `now`. */
  accept(row: Row, token: number, now: number): void {
    const reading = { tokens: Int32Array.of(token), logProbs: none, logits: none, weights: none }
    this.calls.guard([row], () => {
      this.commit(row, reading, now)
    })
  }

  /** The answer becomes text; the job ends, or goes on to its next answer. */
  private commit({ state, answer, candidate }: Row, reading: Reading, now: number): void {
    const { completion } = state
    const { block } = this.sizes
    if (state.reading.length > 0) {
      const logprobs = judgeTokens(state, reading, block, this.tokenizer)
      judged(this.jobs, state, candidate, { logprobs })
      return
    }
    const chosen = takeTokens(state, answer, reading, block, this.tokenizer)
    const judgement = state.request.judge && chosen.length > 0
    const energy =
      judgement && this.calls.timed('read', () => tokenEnergy(this.engine, state, chosen).energy)
    const told = state.request.represent === 'answer'
    const representation =
      told && this.calls.timed('read', () => representationOf(this.engine, answer, candidate))
    state.accept(chosen)
    const ends = completion.ended || state.full || state.finishing
    if (ends) completion.flush()
    const { text, tokens, logprobs } = completion.take()
    const stopReason = candidate.stopped ?? 'finished'
    this.jobs.outbox.pushAnswer(
      state.request,
      {
        position: answer.shape.position,
        text,
        tokens,
        steps: candidate.progress.steps,
        energy: energySummary(candidate),
        stopReason,
        seconds: answer.elapsed(now),
        ...(state.request.logprobs !== undefined && { logprobs }),
        ...(typeof energy === 'number' && { tokenEnergy: energy }),
        ...(representation && { representation }),
      },
      now,
    )
    if (state.request.probe) {
      this.surveys.add(state, answer, candidate, state.request.probe)
      return
    }
    if (ends) {
      this.jobs.complete(state, candidate)
      return
    }
    const grown = state.proceed(candidate.progress.steps, stopReason === 'converged')
    this.jobs.scheduler.commit(state.requestId, grown)
  }

  private get sizes(): { block: number; vocab: number } {
    const { answer, vocab_size } = this.engine.model
    return { block: answer.block, vocab: vocab_size }
  }
}

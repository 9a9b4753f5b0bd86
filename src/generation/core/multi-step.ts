/**
 * Two ways to do more than one step in a call of the engine: several steps of a batch, and several whole
 * answers of one request. Decides how many steps or answers fit in a call, makes the engine's rows, and
 * turns what the engine found into the outcomes that single steps would have had. It changes no request.
 *
 * A call is short where a client follows what it finds, and ends early when the interrupt is raised because
 * a message waits, so nobody waits for longer than a step or an answer of one token.
 */
import type { EnergyEngine, MultiStepAnswer, MultiStepRow } from '../../energy/engine.js'
import { planStep } from '../../refine/budget.js'
import { isGreedy, isPlainDraw, isWholeDraw } from '../../refine/sampling.js'
import { beforeFirstStep, certainSteps } from '../../refine/stop.js'
import type { Scheduler } from '../../scheduler/scheduler.js'
import type { EventQueue } from './requests/event-queue.js'
import { type CandidateRow, candidateOf, type RequestState } from './requests/request-state.js'
import type { RequestTable } from './requests/request-table.js'
import { type AnswersInARow, emptyOutcome, type Outcome } from './step-plan.js'
import { temperatureOf } from './requests/token-selection.js'

/**
 * Seconds after which a call begins no further step or answer. The first holds where a client follows what
 * the call finds, or nothing could interrupt it; the second where nobody does before its end: so long may
 * reports wait (message-loop.ts).
 */
const FOLLOWED_CALL_S = 0.016
const UNFOLLOWED_CALL_S = 0.1
const MOST_STEPS = 128
const MOST_ANSWERS = 128

const noReadout = new Float32Array(0)

/** What the scheduler has room for. */
type Room = NonNullable<ReturnType<Scheduler['stride']>>

export class MultiStep {
  /** Of the latest batch: how many rows descended, and the seconds of one step. */
  private latest = { rows: 1, seconds: Infinity }
  /** The answer of a request that the engine would not take in a row, because it is not finite. */
  private declined: { state: RequestState; answer: number } | undefined

  constructor(
    private readonly engine: Pick<EnergyEngine, 'model' | 'multiStep'>,
    private readonly requests: Pick<RequestTable, 'alone'>,
    private readonly scheduler: Pick<Scheduler, 'counts' | 'stride' | 'waiting'>,
    private readonly events: Pick<EventQueue, 'urgent'>,
    /** Whether a message that waits can end a call. */
    private readonly interruptible: boolean,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** How many steps all of these rows are sure to take, and can take in one call. */
  stepsOf(rows: readonly CandidateRow[]): number {
    // What is read after a step decides what terms add to the next one.
    const single = rows.some(({ state }) => state.request.reportSteps || state.terms)
    if (rows.length === 0 || single || this.events.urgent) return 1
    const { rows: before, seconds } = this.latest
    const expected = seconds * Math.max(1, rows.length / before)
    // A clock that saw no time pass tells nothing.
    if (!(expected > 0 && 2 * expected <= UNFOLLOWED_CALL_S)) return 1
    // Nothing is reported before the last of these steps, so nobody follows them.
    const allowed = this.areAlone(rows) ? UNFOLLOWED_CALL_S : FOLLOWED_CALL_S
    const most = Math.min(MOST_STEPS, Math.floor(allowed / expected))
    if (most <= 1) return 1
    const now = this.now()
    return Math.min(most, ...rows.map((row) => candidateOf(row).answer.certainSteps(now, allowed)))
  }

  /** Several answers of the only request that runs, if they can follow each other in one call. */
  answersInARow(): AnswersInARow | undefined {
    if (!this.engine.multiStep || this.events.urgent) return undefined
    const state = this.requests.alone()
    const steps = state && !this.hasDeclined(state) && this.plainSteps(state)
    if (!steps) return undefined
    const left = state.request.maxTokens - state.completion.tokens.length
    const room = this.scheduler.stride(state.requestId, Math.min(left, MOST_ANSWERS))
    if (!room || room.answers < 2) return undefined
    return { state, row: this.rowOf(state, room, steps) }
  }

  /** One step of so many rows took so long. */
  measured(rows: number, seconds: number): void {
    this.latest = { rows, seconds }
  }

  /** The engine took no answer in a row: a step of the next one alone shows what is wrong with it. */
  decline(state: RequestState): void {
    this.declined = { state, answer: state.answersBegun }
  }

  private hasDeclined(state: RequestState): boolean {
    return this.declined?.state === state && this.declined.answer === state.answersBegun
  }

  /** Only these rows want anything of the engine, and a message that comes can end the call. */
  private areAlone(rows: readonly CandidateRow[]): boolean {
    const states = new Set(rows.map(({ state }) => state))
    const { counts, waiting } = this.scheduler
    return this.interruptible && waiting === 0 && counts.running <= states.size
  }

  /**
   * Steps of every answer to come, if the client wants no more of an answer than its text, and nothing but
   * the number of steps can end one.
   */
  private plainSteps({ completion, isPlain, mask, request }: RequestState): number | undefined {
    const { answer, energy } = this.engine.model
    const { budget, sampling } = request
    const wantsMore =
      request.reportSteps ||
      request.hold ||
      request.tokenEnergy ||
      mask !== undefined ||
      request.terms !== undefined ||
      request.logprobs !== undefined ||
      request.represent !== undefined ||
      request.probe !== undefined
    const chooses = isGreedy(sampling) || (isPlainDraw(sampling) && isWholeDraw(sampling))
    if (wantsMore || !chooses || !isPlain || completion.tokens.length === 0) return undefined
    if (answer.block > 1 || energy.kind !== 'residual') return undefined
    if (budget.candidates > 1 || budget.allocation === 'adaptive' || budget.restarts)
      return undefined
    const certain = certainSteps(budget, beforeFirstStep, 0, UNFOLLOWED_CALL_S)
    return certain > 0 && certain <= MOST_STEPS && certain === budget.maxSteps ? certain : undefined
  }

  private rowOf(
    { answersBegun, completion, context, endToken, request }: RequestState,
    { answers, contextId, from, pages, slot }: Room,
    steps: number,
  ): MultiStepRow {
    const { budget, sampling } = request
    const { landscapes } = this.engine.model
    return {
      contextId,
      slot,
      token: context[from] as number,
      from,
      pages,
      steps: Array.from({ length: steps }, (_, step) => ({
        step,
        ...planStep(budget, step, landscapes),
      })),
      seed: sampling.seed,
      answer: answersBegun,
      draw: completion.tokens.length,
      which: budget.keep,
      temperature: isGreedy(sampling) ? 0 : temperatureOf(sampling),
      ...(endToken !== undefined && { end: endToken }),
      most: answers,
      // The request runs alone, or there would be no room.
      seconds: request.buffered && this.interruptible ? UNFOLLOWED_CALL_S : FOLLOWED_CALL_S,
    }
  }
}

/**
 * What single steps would have found, one outcome for each answer. `began`: the clock at the beginning of
 * the call, `seconds`: how long it took, of which what was not spent observing or reading was descent.
 */
export function outcomesOf(
  state: RequestState,
  answers: readonly MultiStepAnswer[],
  began: number,
  seconds: number,
): Outcome[] {
  let now = began
  const row: CandidateRow = { state, index: 0 }
  const outcomes = answers.map(({ seconds: spent, steps, token }): Outcome => {
    const begunAt = now + spent.observe
    const at = begunAt + spent.descend
    now = at + spent.read
    const outcome = emptyOutcome()
    outcome.begun = [state]
    outcome.begunAt = begunAt
    outcome.descents = steps.map((result) => ({ rows: [row], results: [result], at }))
    outcome.readouts = [{ row, readout: readoutOf(token), at: now }]
    outcome.work = {
      observedTokens: 1,
      ticks: [{ rows: 1, steps: steps.length, seconds: spent.descend / steps.length }],
      restarts: [],
      moves: { accepted: 0, rejected: 0 },
      seconds: { observe: spent.observe, descend: 0, read: spent.read },
    }
    return outcome
  })
  const [first] = outcomes
  if (first) {
    const others = answers.reduce((sum, each) => sum + each.seconds.observe + each.seconds.read, 0)
    first.work.seconds.descend = seconds - others
  }
  return outcomes
}

/** Of a token that the engine chose. */
const readoutOf = (token: number) => ({
  tokens: Int32Array.of(token),
  logProbs: noReadout,
  logits: noReadout,
  weights: noReadout,
})

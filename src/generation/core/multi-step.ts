/**
 * Work that needs nobody's word for a while goes to the engine in one call: several steps, or whole
 * answers in a row. What comes of it is what ticks of one step would bring, with less of JavaScript in
 * between. Calls are short where somebody reads along, and end early where a message waits (the bell),
 * so nobody waits longer than for a step or an answer of one token.
 */
import type { SynchronousEngine, MultiStepAnswer, MultiStepRow } from '../../energy/engine.js'
import { planStep } from '../../refine/budget.js'
import { isGreedy, isPlainDraw, isWholeDraw } from '../../refine/sampling.js'
import { certainSteps, beforeFirstStep } from '../../refine/stop.js'
import type { EngineCalls } from './engine-calls.js'
import type { RequestTable } from './request-table.js'
import type { TickStats } from '../protocol.js'
import type { Row, RequestState } from './request-state.js'
import { temperatureOf } from './token-selection.js'
import type { OutputProcessor } from './output-processor.js'

/**
 * Seconds after which a call begins nothing more, where somebody follows what it finds, and where nobody
 * does until it ends or the bell rings: so long may reports wait (reporter.ts). Whoever waits for a
 * report that is yet to be sent waits for single steps.
 */
const SHORT = 0.016
const LONG = 0.1
/** Steps of a call, and answers. */
const MOST_STEPS = 128
const MOST_ANSWERS = 128

export class MultiStep {
  /** Of the latest batch: how many rows descended, and the seconds of one step. */
  private latest = { rows: 1, seconds: Infinity }

  constructor(
    private readonly engine: SynchronousEngine,
    private readonly jobs: RequestTable,
    private readonly calls: EngineCalls,
    private readonly settlement: OutputProcessor,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** How many steps all of these rows are sure to take, and can in one call. */
  stepsOf(rows: readonly Row[]): number {
    const followed = rows.some(({ state }) => state.request.reportSteps)
    if (rows.length === 0 || followed || this.jobs.outbox.urgent) return 1
    const { rows: before, seconds } = this.latest
    const expected = seconds * Math.max(1, rows.length / before)
    // A clock that saw no time pass says nothing.
    if (!(expected > 0 && 2 * expected <= LONG)) return 1
    // Nothing is to be told before the last of them.
    const allowed = this.alone(rows) ? LONG : SHORT
    const most = Math.min(MOST_STEPS, Math.floor(allowed / expected))
    if (most <= 1) return 1
    const now = this.now()
    return Math.min(most, ...rows.map(({ answer }) => answer.certainSteps(now, allowed)))
  }

  /** Nobody but these rows wants anything of the engine, and whoever comes is heard. */
  private alone(rows: readonly Row[]): boolean {
    const { bell, scheduler } = this.jobs
    const jobs = new Set(rows.map(({ state }) => state))
    return bell !== undefined && scheduler.waiting === 0 && scheduler.counts.running <= jobs.size
  }

  /** So long did one step of so many rows take. */
  took(rows: number, seconds: number): void {
    this.latest = { rows, seconds }
  }

  /** Whole answers of the only job that runs, if they can follow each other so. */
  take(): Pick<TickStats, 'ticks' | 'observedTokens'> | undefined {
    if (!this.engine.multiStep || this.jobs.outbox.urgent) return undefined
    const state = this.jobs.alone()
    const steps = state && this.plainSteps(state)
    if (!steps) return undefined
    const left = state.request.maxTokens - state.completion.tokens.length
    const room = this.jobs.scheduler.stride(state.requestId, Math.min(left, MOST_ANSWERS))
    if (!room || room.answers < 2) return undefined
    const began = this.now()
    const row = this.rowOf(state, room, steps)
    const answers = this.calls.run(
      'descend',
      [{ state }],
      () => this.engine.multiStep?.(row, this.jobs.bell) ?? [],
    )
    if (!answers) return { ticks: [], observedTokens: 0 }
    // The first is not finite: its own tick says what is wrong.
    if (answers.length === 0) return undefined
    this.follow(state, answers, began)
    return {
      ticks: answers.map(({ seconds: { descend }, steps: { length } }) => {
        return { rows: 1, steps: length, seconds: descend / length }
      }),
      observedTokens: answers.length,
    }
  }

  /**
   * Steps of every answer to come, if nobody wants more of an answer than its text, and nothing but
   * its number of steps can end one.
   */
  private plainSteps({ request, completion, steady }: RequestState): number | undefined {
    const { answer, energy } = this.engine.model
    const { budget, sampling } = request
    const watched =
      request.reportSteps ||
      request.hold ||
      request.judge ||
      request.logprobs !== undefined ||
      request.represent !== undefined ||
      request.probe !== undefined
    const chooses = isGreedy(sampling) || (isPlainDraw(sampling) && isWholeDraw(sampling))
    if (watched || !chooses || !steady || completion.tokens.length === 0) return undefined
    if (answer.block > 1 || energy.kind !== 'residual') return undefined
    if (budget.candidates > 1 || budget.allocation === 'adaptive') return undefined
    const certain = certainSteps(budget, beforeFirstStep, 0, LONG)
    return certain > 0 && certain <= MOST_STEPS && certain === budget.maxSteps ? certain : undefined
  }

  private rowOf(
    state: RequestState,
    { answers, from, pages, contextId, slot }: Room,
    steps: number,
  ): MultiStepRow {
    const { completion, context, answered, end, request } = state
    const { budget, sampling } = request
    const { landscapes } = this.engine.model
    // It runs alone, or there would be no room.
    const seconds = request.buffered && this.jobs.bell ? LONG : SHORT
    return {
      ...{ contextId, slot, from, pages, most: answers, seconds },
      token: context[from] as number,
      steps: Array.from({ length: steps }, (_, step) => ({
        step,
        ...planStep(budget, step, landscapes),
      })),
      seed: sampling.seed,
      answer: answered,
      draw: completion.tokens.length,
      which: budget.keep,
      temperature: isGreedy(sampling) ? 0 : temperatureOf(sampling),
      ...(end !== undefined && { end }),
    }
  }

  /** Each answer becomes text as if it had been begun, refined and read in ticks of its own. */
  private follow(state: RequestState, answers: readonly MultiStepAnswer[], began: number): void {
    const { scheduler } = this.jobs
    const { seconds: total } = this.calls
    let now = began
    for (const { seconds, steps, token } of answers) {
      total.observe += seconds.observe
      total.read += seconds.read
      total.descend -= seconds.observe + seconds.read
      if (this.jobs.of(state.requestId) !== state) continue
      const slots = scheduler.follow(state.requestId)
      const answer = state.begin(slots, now + seconds.observe)
      const [candidate] = answer.candidates
      if (!candidate) continue
      now += seconds.observe + seconds.descend
      for (const result of steps) answer.step(candidate, result, now)
      answer.stopClock(now)
      now += seconds.read
      this.settlement.accept({ state, answer, candidate }, token, now)
    }
  }
}

type Room = NonNullable<ReturnType<RequestTable['scheduler']['stride']>>

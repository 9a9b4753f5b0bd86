/**
 * Work that needs nobody's word for a while goes to the engine in one call: several steps, or whole
 * answers in a row. What comes of it is what ticks of one step would bring, with less of JavaScript in
 * between. Calls are short where somebody reads along, and end early where a message waits (the bell),
 * so nobody waits longer than for a step or an answer of one token.
 */
import type { EnergyEngine, StrideAnswer, StrideRow } from '../energy/engine.js'
import { planStep } from '../refine/budget.js'
import { isGreedy, isPlainDraw, isWholeDraw } from '../refine/sampling.js'
import { certainSteps, beforeFirstStep } from '../refine/stop.js'
import type { Calls } from './calls.js'
import type { Jobs } from './jobs.js'
import type { TickStats } from './protocol.js'
import type { Row, Running } from './running.js'
import { temperatureOf } from './settle.js'
import type { Settlement } from './settlement.js'

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

export class Strides {
  /** Of the latest batch: how many rows descended, and the seconds of one step. */
  private latest = { rows: 1, seconds: Infinity }

  constructor(
    private readonly engine: EnergyEngine,
    private readonly jobs: Jobs,
    private readonly calls: Calls,
    private readonly settlement: Settlement,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** How many steps all of these rows are sure to take, and can in one call. */
  stepsOf(rows: readonly Row[]): number {
    const followed = rows.some(({ running }) => running.job.reportSteps)
    if (rows.length === 0 || followed || this.jobs.outbox.pressing) return 1
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
    const jobs = new Set(rows.map(({ running }) => running))
    return bell !== undefined && scheduler.waiting === 0 && scheduler.counts.running <= jobs.size
  }

  /** So long did one step of so many rows take. */
  took(rows: number, seconds: number): void {
    this.latest = { rows, seconds }
  }

  /** Whole answers of the only job that runs, if they can follow each other so. */
  take(): Pick<TickStats, 'ticks' | 'observedTokens'> | undefined {
    if (!this.engine.stride || this.jobs.outbox.pressing) return undefined
    const running = this.jobs.alone()
    const steps = running && this.plainSteps(running)
    if (!steps) return undefined
    const left = running.job.maxTokens - running.completion.tokens.length
    const room = this.jobs.scheduler.stride(running.ticket, Math.min(left, MOST_ANSWERS))
    if (!room || room.answers < 2) return undefined
    const began = this.now()
    const row = this.rowOf(running, room, steps)
    const answers = this.calls.run(
      'descend',
      [{ running }],
      () => this.engine.stride?.(row, this.jobs.bell) ?? [],
    )
    if (!answers) return { ticks: [], observedTokens: 0 }
    // The first is not finite: its own tick says what is wrong.
    if (answers.length === 0) return undefined
    this.follow(running, answers, began)
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
  private plainSteps({ job, completion, steady }: Running): number | undefined {
    const { answer, energy } = this.engine.model
    const { budget, sampling } = job
    const watched =
      job.reportSteps ||
      job.hold ||
      job.judge ||
      job.logprobs !== undefined ||
      job.represent !== undefined ||
      job.survey !== undefined
    const chooses = isGreedy(sampling) || (isPlainDraw(sampling) && isWholeDraw(sampling))
    if (watched || !chooses || !steady || completion.tokens.length === 0) return undefined
    if (answer.block > 1 || energy.kind !== 'residual') return undefined
    if (budget.candidates > 1 || budget.allocation === 'adaptive') return undefined
    const certain = certainSteps(budget, beforeFirstStep, 0, LONG)
    return certain > 0 && certain <= MOST_STEPS && certain === budget.maxSteps ? certain : undefined
  }

  private rowOf(
    running: Running,
    { answers, from, pages, sequence, slot }: Room,
    steps: number,
  ): StrideRow {
    const { completion, context, answered, end, job } = running
    const { budget, sampling } = job
    const { landscapes } = this.engine.model
    // It runs alone, or there would be no room.
    const seconds = job.patient && this.jobs.bell ? LONG : SHORT
    return {
      ...{ sequence, slot, from, pages, most: answers, seconds },
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
  private follow(running: Running, answers: readonly StrideAnswer[], began: number): void {
    const { scheduler } = this.jobs
    const { seconds: total } = this.calls
    let now = began
    for (const { seconds, steps, token } of answers) {
      total.observe += seconds.observe
      total.read += seconds.read
      total.descend -= seconds.observe + seconds.read
      if (this.jobs.of(running.ticket) !== running) continue
      const slots = scheduler.follow(running.ticket)
      const answer = running.begin(slots, now + seconds.observe)
      const [candidate] = answer.candidates
      if (!candidate) continue
      now += seconds.observe + seconds.descend
      for (const result of steps) answer.step(candidate, result, now)
      answer.stopClock(now)
      now += seconds.read
      this.settlement.accept({ running, answer, candidate }, token, now)
    }
  }
}

type Room = NonNullable<ReturnType<Jobs['scheduler']['stride']>>

/**
 * The tick: schedule, refine, settle. One loop owns one engine and everything that is asked of it.
 * Knows tokens, energies and text; knows no thread, no transport and no timer: whoever drives it
 * calls `tick` until it returns false, again after a control, and passes on what `report` gives.
 */
import type { EnergyEngine, StepResult } from '../energy/engine.js'
import { toErrorMessage } from '../errors.js'
import { planStep } from '../refine/budget.js'
import { answerSeed } from '../refine/candidates.js'
import type { CacheCounts, Plan } from '../scheduler/plan.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { Calls } from './calls.js'
import { Jobs, type LoopOptions } from './jobs.js'
import type { Control, FromWorker, Job, TickStats } from './protocol.js'
import type { Row, Running } from './running.js'
import { observeStates } from './represent.js'
import { Settlement } from './settlement.js'
import { STEP_ALTERNATIVES, stepEvent } from './step-event.js'
import { Strides } from './strides.js'
import { Surveys } from './surveys.js'

/** What happened since the last report. */
export type Report = Omit<Extract<FromWorker, { type: 'events' }>, 'type'>

/** Most ticks that one report accounts for. */
const MOST_TICKS = 1024

const noWork = () => ({ ticks: [] as TickStats['ticks'][number][], observedTokens: 0 })

export class GenerationLoop {
  private readonly jobs: Jobs
  private readonly calls: Calls
  private readonly surveys: Surveys
  private readonly settlement: Settlement
  private readonly strides: Strides
  private work = noWork()
  private reported: CacheCounts = { queries: 0, hits: 0, preemptions: 0 }

  constructor(
    private readonly engine: EnergyEngine,
    private readonly tokenizer: Tokenizer,
    options: LoopOptions,
    /** Seconds, monotonic. */
    readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.jobs = new Jobs(engine, tokenizer, options, now)
    this.calls = new Calls(this.jobs, now)
    this.surveys = new Surveys(engine, this.jobs, this.calls)
    this.settlement = new Settlement(engine, tokenizer, this.jobs, this.calls, this.surveys, now)
    this.strides = new Strides(engine, this.jobs, this.calls, this.settlement, now)
  }

  /** One batch on the engine. False when there is nothing to do until something is asked. */
  tick(): boolean {
    const strode = this.strides.take()
    if (strode) {
      this.work.ticks.push(...strode.ticks)
      this.work.observedTokens += strode.observedTokens
      return true
    }
    const plan = this.schedule()
    this.refine(plan)
    const settled = this.settlement.settle()
    const busy = settled || plan.admitted.length + plan.observe.length + plan.descend.length > 0
    this.surveys.proceed(busy)
    return busy || this.surveys.some
  }

  /** Queues a job. Throws what is wrong with it. */
  submit(job: Job): void {
    this.jobs.submit(job)
  }

  /** Tells the client of a job why it was not taken. */
  refuse(id: string, error: unknown): void {
    this.jobs.outbox.push({ id }, { type: 'failed', error: toErrorMessage(error) }, this.now())
  }

  /** Acts on a job. Controls of jobs that are gone do nothing; `extend` throws `not_held`. */
  control(id: string, control: Control): void {
    this.jobs.control(id, control)
  }

  /** Lets go of held answers whose time is over, and finishes paused ones. */
  expire(): void {
    this.jobs.expire()
  }

  /** A client waits for what happened since the last report: more than a further step or token. */
  get pressing(): boolean {
    return this.jobs.outbox.pressing
  }

  /** There are events since the last report. */
  get untold(): boolean {
    return !this.jobs.outbox.empty
  }

  /** A client follows one of them. */
  get awaited(): boolean {
    return this.jobs.outbox.awaited
  }

  /** So much has happened since the last report that it should be given before the next tick. */
  get full(): boolean {
    return this.jobs.outbox.full || this.work.ticks.length >= MOST_TICKS
  }

  /** When `expire` next has something to do, in seconds of `now`. */
  get nextExpiry(): number | undefined {
    return this.jobs.nextExpiry
  }

  /** Events since the last call, and the account of the ticks between. */
  report(): Report {
    const { scheduler } = this.jobs
    const cache = { ...scheduler.cache }
    const stats = {
      ...this.work,
      seconds: this.calls.take(),
      ...scheduler.counts,
      waiting: scheduler.waiting,
      slotsUsed: scheduler.slotsUsed,
      pagesUsed: scheduler.pagesUsed,
      prefixQueries: cache.queries - this.reported.queries,
      prefixHits: cache.hits - this.reported.hits,
      preemptions: cache.preemptions - this.reported.preemptions,
    }
    this.reported = cache
    this.work = noWork()
    return { ...this.jobs.outbox.take(this.now()), stats }
  }

  private schedule(): Plan {
    const plan = this.jobs.scheduler.plan()
    for (const sequence of plan.evicted) this.jobs.evict(sequence)
    for (const sequence of plan.preempted) this.jobs.interrupt(sequence, true)
    for (const { ticket } of plan.admitted) {
      const running = this.jobs.of(ticket)
      if (!running) continue
      const queueSeconds = this.now() - running.submittedAt
      this.jobs.emit(running, {
        type: 'started',
        promptTokens: running.promptTokens,
        queueSeconds,
        ...(running.job.echo && { promptText: running.promptText }),
      })
    }
    this.observe(plan)
    for (const sequence of plan.resumed) this.jobs.interrupt(sequence, false)
    this.begin(plan)
    return plan
  }

  private observe(plan: Plan): void {
    const ranges = plan.observe.flatMap(({ ticket, ...range }) => {
      const running = this.jobs.of(ticket)
      return running ? [{ running, ...range }] : []
    })
    const observed = this.calls.run('observe', ranges, () => {
      const rows = ranges.map(({ running, sequence, pages, from, to }) => {
        const tokens = running.context.slice(from, to)
        return { running, from, row: { sequence, pages, tokens, ...(to > from && { from }) } }
      })
      const encoding = rows.filter(({ running }) => running.encoding)
      this.engine.observe(rows.flatMap(({ row, running }) => (running.encoding ? [] : [row])))
      if (encoding.length > 0) observeStates(this.engine, encoding, this.tokenizer.bos)
      for (const { from, to } of ranges) this.work.observedTokens += to - from
      return true
    })
    // Pages that it was to fill may hold anything.
    if (ranges.length > 0 && !observed) this.jobs.scheduler.forgetPages()
  }

  private begin(plan: Plan): void {
    const now = this.now()
    const starting = plan.begin.flatMap(({ ticket, sequence, slots }) => {
      const running = this.jobs.of(ticket)
      if (!running) return []
      running.sequence = sequence
      return [{ running, sequence, answer: running.begin(slots, now) }]
    })
    const still = ({ running }: { running: Running }) => running.scoring || running.encoding
    for (const each of starting) if (still(each)) this.jobs.settling.add(each.running)
    const descending = starting.filter((each) => !still(each))
    this.calls.run('descend', descending, () => {
      this.engine.begin(
        descending.flatMap(({ running, sequence, answer: { candidates, shape } }) =>
          candidates.map(({ slot }, candidate) => ({
            slot,
            sequence,
            candidate,
            seed: answerSeed(running.job.sampling.seed, shape.index),
            ...(shape.clamped && { clamped: shape.clamped }),
          })),
        ),
      )
      for (const { running } of descending) this.jobs.withdraw(running)
    })
  }

  private refine(plan: Plan): void {
    const rows = plan.descend.flatMap(({ ticket, candidate: index }): Row[] => {
      const running = this.jobs.of(ticket)
      const answer = running?.answer
      const candidate = answer?.candidates[index]
      return running && answer && candidate && answer.hasTurn(index)
        ? [{ running, answer, candidate }]
        : []
    })
    const rounds = this.surveys.some ? 1 : this.strides.stepsOf(rows)
    const before = this.calls.seconds.descend
    const results = this.calls.run('descend', rows, () =>
      this.engine.descend(
        Array.from({ length: rounds }, (_, ahead) =>
          rows.map((row) => this.descendRow(row, ahead)),
        ).flat(),
        this.jobs.bell,
      ),
    )
    if (!results) return
    const taken = results.length / rows.length
    const seconds = (this.calls.seconds.descend - before) / taken
    this.strides.took(rows.length, seconds)
    this.work.ticks.push({ rows: rows.length, steps: taken, seconds })
    for (let round = 0; round < taken; round++) this.judge(rows, results.slice(round * rows.length))
    this.reportSteps(rows.filter(({ running }) => running.job.reportSteps))
  }

  /** `ahead`: steps of this call before it. */
  private descendRow({ answer: { limits }, candidate: { slot, progress } }: Row, ahead: number) {
    const { landscapes } = this.engine.model
    const step = progress.steps + ahead
    return { slot, step, ...planStep(limits, step, landscapes, progress.searched) }
  }

  private judge(rows: readonly Row[], results: readonly StepResult[]): void {
    const now = this.now()
    rows.forEach((row, i) => {
      // It diverged in an earlier step of this call.
      if (!isMoving(row)) return
      const { running, answer, candidate } = row
      answer.step(candidate, results[i] as StepResult, now)
      if (candidate.stopped) this.jobs.withdraw(running)
    })
  }

  private reportSteps(rows: readonly Row[]): void {
    const { model } = this.engine
    const sound = rows.filter(({ candidate }) => candidate.stopped !== 'diverged')
    const top = Math.min(STEP_ALTERNATIVES, model.vocab_size)
    const readings = this.calls.run('read', sound, () =>
      this.engine.read(sound.map(({ candidate: { slot } }) => ({ slot, which: 'last', top }))),
    )
    readings?.forEach((reading, i) => {
      const { running, answer, candidate } = sound[i] as Row
      this.jobs.emit(
        running,
        stepEvent(running, answer, candidate, reading, model.answer.block, this.tokenizer),
      )
    })
  }
}

const isMoving = ({ candidate }: Row): boolean => candidate.stopped === undefined

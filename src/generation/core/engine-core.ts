/**
 * The step of the engine: schedule, execute, update. One core owns one engine and everything that is asked
 * of it. Puts the parts together and keeps the account of their work; knows no thread, no transport and no
 * timer. Whoever drives it calls `step` until there is nothing to do, again after a request or a control,
 * and passes on what `report` gives.
 *
 * Requests change between steps only. An engine may answer later, and while it does, a plan and what it
 * found are on their way: `submit`, `control` and `expire` throw then, and whoever drives the core waits.
 */
import type { EnergyEngine } from '../../energy/engine.js'
import type { Interrupt } from '../../energy/interrupt.js'
import { toErrorMessage } from '../../errors.js'
import type { CacheCounts } from '../../scheduler/plan.js'
import { Scheduler } from '../../scheduler/scheduler.js'
import type { TokenMask } from '../../tokenizer/grammar/grammar.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Control, EngineRequest, FromWorker } from '../protocol.js'
import { EventQueue } from './requests/event-queue.js'
import { Executor } from './executor.js'
import { ProbeQueue } from './requests/landscape-probe.js'
import { MultiStep } from './multi-step.js'
import { OutputProcessor } from './output-processor.js'
import { RequestTable, type RequestTableOptions } from './requests/request-table.js'
import { hasWork, noWork, type Outcome, type StepPlan, type Work } from './step-plan.js'
import { StepScheduler } from './step-scheduler.js'

export interface EngineCoreOptions extends RequestTableOptions {
  /** Most prompt tokens observed per step. */
  prefillChunk: number
  /** Contexts of one client that begin alike share pages, where the engine can. Absent: they do. */
  sharePrefixes?: boolean
  /** Raised when a message waits, so that calls of the engine may be long. Absent: they are short. */
  interrupt?: Interrupt
}

/** What happened since the last report. */
export type Report = Omit<Extract<FromWorker, { type: 'events' }>, 'type'>

/** Most batches that one report accounts for. */
const REPORT_BATCHES = 1024

export class EngineCore {
  private readonly slots: Scheduler
  private readonly events = new EventQueue()
  private readonly requests: RequestTable
  private readonly probes: ProbeQueue
  private readonly multiStep: MultiStep
  private readonly output: OutputProcessor
  private readonly scheduler: StepScheduler
  private readonly executor: Executor
  /** Since the last report. */
  private work: Work = noWork()
  private reportedCache: CacheCounts = { queries: 0, hits: 0, preemptions: 0, movedOut: 0 }

  constructor(
    engine: EnergyEngine,
    tokenizer: Tokenizer,
    options: EngineCoreOptions,
    /** Seconds, monotonic. */
    readonly now: () => number = () => performance.now() / 1000,
  ) {
    const { events } = this
    const { interrupt, prefillChunk, sharePrefixes = true } = options
    const sharesPages = engine.capacity.sharesPages === true && sharePrefixes
    const slots = new Scheduler({ ...engine.capacity, sharesPages }, prefillChunk)
    const requests = new RequestTable(engine, tokenizer, slots, events, options, now)
    const probes = new ProbeQueue((state) => requests.has(state))
    const interruptible = interrupt !== undefined
    const multiStep = new MultiStep(engine, requests, slots, events, interruptible, now)
    const { model } = engine
    this.output = new OutputProcessor(model, tokenizer, requests, slots, probes, events, now)
    this.scheduler = new StepScheduler(slots, requests, this.output, multiStep, probes, now)
    this.executor = new Executor(engine, tokenizer.bos, interrupt, now)
    this.slots = slots
    this.requests = requests
    this.probes = probes
    this.multiStep = multiStep
  }

  /**
   * One step of everybody whose turn it is. What settles in it is read in it, by further rounds of the same
   * three lines, so that between steps an answer is in descent or is done. False when there is nothing to do
   * until something is asked.
   */
  async step(): Promise<boolean> {
    this.checkBetweenSteps()
    let worked = false
    do {
      const plan = this.scheduler.schedule()
      const results = await this.execute(plan)
      this.update(plan, results)
      worked ||= hasWork(plan)
    } while (this.output.hasSettled)
    return worked || this.probes.some
  }

  /** Queues a request. `mask`: which tokens its completion may go on with. Throws what is wrong with it. */
  submit(request: EngineRequest, mask?: TokenMask): void {
    this.checkBetweenSteps()
    this.requests.submit(request, mask)
  }

  /** Throws what is wrong with a request. Nothing changes, so a step may be in flight. */
  check(request: EngineRequest): void {
    this.requests.check(request)
  }

  /** Tells the client of a request why it was not taken. */
  refuse(id: string, error: unknown): void {
    this.events.push({ id }, { type: 'failed', error: toErrorMessage(error) }, this.now())
  }

  /** Acts on a request. Does nothing if the request is gone, but `extend` throws `not_held` then. */
  control(id: string, control: Control): void {
    this.checkBetweenSteps()
    const state = this.requests.control(id, control)
    if (state) this.output.rest(state, this.now())
  }

  /** Lets go of held answers whose time is over, and finishes paused ones. */
  expire(): void {
    this.checkBetweenSteps()
    for (const state of this.requests.expire()) this.output.rest(state, this.now())
  }

  /** A client waits for what happened since the last report: more than a further step or token. */
  get urgent(): boolean {
    return this.events.urgent
  }

  /** There are events since the last report. */
  get hasEvents(): boolean {
    return !this.events.empty
  }

  /** A client follows one of them. */
  get followed(): boolean {
    return this.events.followed
  }

  /** So much has happened since the last report that it should be given before the next step. */
  get full(): boolean {
    return this.events.full || this.work.ticks.length >= REPORT_BATCHES
  }

  /** When `expire` next has something to do, in seconds of `now`. */
  get nextExpiry(): number | undefined {
    return this.requests.nextExpiry
  }

  /** Events since the last call, and the account of the steps between. */
  report(): Report {
    const { reportedCache: before, slots } = this
    const cache = { ...slots.cache }
    const stats = {
      ...this.work,
      ...slots.counts,
      waiting: slots.waiting,
      slotsUsed: slots.slotsUsed,
      pagesUsed: slots.pagesUsed,
      prefixQueries: cache.queries - before.queries,
      prefixHits: cache.hits - before.hits,
      preemptions: cache.preemptions - before.preemptions,
      movedOut: cache.movedOut - before.movedOut,
    }
    this.reportedCache = cache
    this.work = noWork()
    return { ...this.events.take(this.now()), stats }
  }

  private execute(plan: StepPlan): Promise<readonly Outcome[]> {
    return this.executor.execute(plan)
  }

  private update(plan: StepPlan, results: readonly Outcome[]): void {
    this.output.update(plan, results)
    for (const { work } of results) this.account(work)
    this.measure(plan, results)
  }

  private account({ moves, observedTokens, restarts, seconds, ticks }: Work): void {
    this.work.moves.accepted += moves.accepted
    this.work.moves.rejected += moves.rejected
    this.work.observedTokens += observedTokens
    this.work.ticks.push(...ticks)
    this.work.restarts.push(...restarts)
    this.work.seconds.observe += seconds.observe
    this.work.seconds.descend += seconds.descend
    this.work.seconds.read += seconds.read
  }

  /** What this step says of how much the next call can hold. */
  private measure({ answersInARow }: StepPlan, results: readonly Outcome[]): void {
    if (!answersInARow) {
      for (const { work } of results)
        for (const { rows, seconds } of work.ticks) this.multiStep.measured(rows, seconds)
    } else if (results.every(({ readouts }) => readouts.length === 0))
      this.multiStep.decline(answersInARow.state)
  }

  private checkBetweenSteps(): void {
    if (this.executor.inFlight)
      throw new Error('a step is in flight: requests change when it has ended')
  }
}

/**
 * One job that outlives the connection it was asked on. Its events go into a journal, and an event is in
 * the store before anyone reads it. Every few seconds its engine saves it, and the store has this checkpoint
 * beside the journal.
 *
 * After a crash the next process goes on from the checkpoint, or begins anew where there is none. What the
 * journal has beyond the checkpoint is computed again, and it comes out the same: it is a function of the seed,
 * since an engine saves a request before anything is seen of a control or of the end of its time
 * (`EngineRequest.saves`). The job compares these events with the journal and appends what is new, so readers
 * see one sequence without gap or repetition. Where the second computation gives other events, the job fails.
 */
import { BasinError, type ErrorMessage, toErrorMessage } from '../errors.js'
import type { RequestStream } from '../generation/client/engine-client.js'
import type { EngineRequest, Of, RequestEvent, Steer } from '../generation/protocol.js'
import { Journal } from './journal.js'
import {
  type Checkpoint,
  type Entry,
  EventsMissing,
  type JobRecord,
  type JobStore,
  JobTaken,
} from './store.js'

/** What one event of the engine adds to the journal. */
export interface EmittedEvents {
  events: readonly object[]
  /** The result. It is present only when the job has ended. */
  final?: unknown
}

/** Turns the engine's events into those of the API that was called. A state machine over one job. */
export interface EventWriter {
  /** The events that precede those of the engine. */
  open(): EmittedEvents
  take(event: RequestEvent): EmittedEvents
  /** Another writer has written this event, which comes after those of this one. */
  recall(event: object): void
  /** The events of a cancelled job. */
  cancel(): EmittedEvents
  /** The result so far. */
  present(): unknown
  /** What another writer needs to go on from here. JSON. */
  memory(): unknown
}

/** How a job is run: at first, and again after a restart or the loss of its engine. */
export interface JobSpec {
  /** `memory`: of the writer that it goes on from. */
  writer: (memory?: unknown) => EventWriter
  /** Submits the request; waits while the queue is full. `resumed`: where it does not begin anew. */
  submit: (resumed?: Resumed) => Promise<RequestStream>
  /** Whether a journalled event and a recomputed one are equal. */
  same: (journalled: object, recomputed: object) => boolean
  /** How long the result is kept, in milliseconds. */
  keep: number
  /** Called with the error when the store could not write. */
  report: (error: unknown) => void
  /** Is told of checkpoints, and of what became of them. */
  watch: JobWatcher
}

/** Where a request goes on. */
export interface Resumed extends Pick<Checkpoint, 'limits'> {
  from: NonNullable<EngineRequest['from']>
}

export interface JobWatcher {
  saved: (checkpoint: Of<'saved'>) => void
  /** It goes on from a checkpoint; `again`: events that are computed again. */
  resumed: (again: readonly string[]) => void
  /** A checkpoint does not fit, so the job begins anew. */
  unfit: (id: string, reason: string) => void
}

/** Milliseconds before a write that failed is tried again: at first, and at most. */
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5000
/** Milliseconds after which a job that lives only as long as its connection fails for want of the store. */
const STORE_PATIENCE_MS = 10_000

/** An event as journals have it. */
export const textOfEvent = (event: object, number: number): string =>
  JSON.stringify({ ...event, sequence_number: number })

export const NOT_RESUMABLE = 'the server was restarted before it had ended'

/** How often one process submits a job before the job fails. */
const ATTEMPTS = 3

/**
 * Why a submission ended before its job: the engine was lost, this process is going down, or the checkpoint is
 * not one of this engine.
 */
type Interruption = 'lost' | 'left' | 'unfit'

/** What an earlier process has left of a job, or where another job has been. */
export interface Earlier {
  events: readonly string[]
  checkpoint: Checkpoint | undefined
}

export class DurableJob {
  readonly journal: Journal
  /** Settles when this process adds no more events. */
  readonly done: Promise<void>
  /** Why the job failed, if it did. */
  failure: ErrorMessage | undefined
  private writer: EventWriter
  private run: RequestStream | undefined
  private started = false
  /** How many events the present computation has given. */
  private eventCount = 0
  /** Events below this number are computed again. */
  private again = 0
  /** How many of the controls that steered it the present computation has been given. */
  private steered = 0
  private checkpoint: Checkpoint | undefined
  /** The checkpoint is not in the store yet. */
  private unsaved = false
  /** The engine has been asked for a checkpoint and has not given it. */
  private asked = false
  private changed = true
  private pumping: Promise<void> | undefined
  private over = false
  private deleted = false
  private left = false
  /** The store could not be written to for so long that the job has failed without it. */
  private unstored = false
  /** Wait for the next checkpoint. */
  private readonly askers: ((checkpoint: Checkpoint) => void)[] = []
  /** It leaves with the next checkpoint. */
  private leaving = false
  /** Ends the pause before a write is tried again. */
  private wake: () => void = () => undefined
  private settle: () => void = () => undefined

  /** `store`: undefined for a job that is not kept. */
  constructor(
    readonly record: JobRecord,
    private readonly spec: JobSpec,
    private readonly store: JobStore | undefined,
    earlier: Earlier = { events: [], checkpoint: undefined },
  ) {
    this.journal = new Journal(earlier.events)
    this.checkpoint = earlier.checkpoint
    this.unsaved = earlier.events.length === 0 && earlier.checkpoint !== undefined
    this.writer = spec.writer()
    this.done = new Promise((resolve) => (this.settle = resolve))
  }

  get ended(): boolean {
    return this.over
  }

  /** Failed before the engine had begun it. */
  get refused(): boolean {
    return this.failure !== undefined && !this.started
  }

  /** The result, or the result so far. */
  get present(): unknown {
    return this.over ? this.record.result : this.writer.present()
  }

  /** Settles when all events so far are in the store. */
  async written(): Promise<void> {
    await this.pumping
  }

  /**
   * It can be computed on or again: it has a checkpoint, or nothing but its seed has decided what readers have
   * seen. An engine that saves does so before it shows anything of a control, so where there never was a
   * checkpoint no control has shown. Where one was lost, the events differ from the journal, and the job fails then.
   */
  get resumable(): boolean {
    const { continued, durable, job, steered } = this.record
    const unsteered = !steered || job.saves === true
    return durable && (this.checkpoint !== undefined || (unsteered && !continued))
  }

  /**
   * The next checkpoint with all that has steered it. Throws `invalid_request` where it has not begun, or ends
   * first.
   */
  async state(): Promise<Checkpoint> {
    const param = 'id'
    for (;;) {
      if (!this.started || this.silent) {
        const reason = `the response has ${this.silent ? 'ended' : 'not begun'}; only one that runs has a state`
        throw new BasinError('invalid_request', { param, reason })
      }
      const next = new Promise<Checkpoint>((resolve) => this.askers.push(resolve))
      this.save()
      const given = await Promise.race([next, this.done])
      if (given && given.steered === (this.record.steers ?? []).length) return given
    }
  }

  /** Follows `run`, or submits one as soon as there is room. */
  begin(run?: RequestStream): void {
    this.rewind()
    void this.compute(run)
  }

  /** Asks the engine for a checkpoint. */
  save(): void {
    if (!this.started || this.asked || this.silent) return
    this.asked = true
    this.run?.control({ type: 'save' })
  }

  /**
   * This process is going down: with the next checkpoint, which it asks for, it adds no more events. Resolves when
   * the checkpoint is in the store.
   */
  async handOver(): Promise<void> {
    this.leaving = true
    if (this.started) this.save()
    else this.leave()
    await this.done
  }

  /** Ends the job for good: later events of its run are ignored. */
  cancel(): void {
    if (this.over) return
    this.catchUp()
    this.say(this.writer.cancel())
    this.run?.control({ type: 'cancel' })
  }

  fail(error: ErrorMessage): void {
    if (this.over) return
    this.catchUp()
    this.failure = error
    this.say(this.writer.take({ type: 'failed', error }))
    this.run?.control({ type: 'cancel' })
  }

  /**
   * A client changes its course. While events come again that readers have seen, the control waits, since these
   * had come without it. Throws as `RequestStream.control` does.
   */
  steer(control: Steer): void {
    if (!this.isRepeating) this.give(control)
    this.record.steered = true
    this.record.steers = [...(this.record.steers ?? []), control]
    this.changed = true
    this.pump()
  }

  /** This process is going down: the journal stays as it is, for the next one. */
  leave(): void {
    this.left = true
    this.wake()
    this.run?.control({ type: 'cancel' })
  }

  async delete(): Promise<void> {
    this.deleted = true
    this.wake()
    this.cancel()
    await this.pumping
    await this.store?.delete(this.record.id)
  }

  /** This process adds no more events. */
  private get silent(): boolean {
    return this.over || this.left
  }

  /** The events of the journal come first, by the seed alone; controls that followed them, and the clock, come after. */
  private get repeatsJournal(): boolean {
    return this.checkpoint !== undefined || this.record.steered
  }

  private get isRepeating(): boolean {
    return this.eventCount < this.again
  }

  /** What is written next follows all that readers may have seen. */
  private catchUp(): void {
    for (const line of this.journal.from(this.eventCount))
      this.writer.recall(JSON.parse(line) as object)
    this.eventCount = this.journal.length
  }

  private give(control: Steer): void {
    this.run?.control(control)
    this.steered++
  }

  /** To where the next submission begins. */
  private rewind(): void {
    const { checkpoint } = this
    this.run = undefined
    this.asked = false
    this.again = this.repeatsJournal ? this.journal.length : 0
    this.eventCount = checkpoint?.next ?? 0
    this.steered = checkpoint?.steered ?? 0
    this.writer = this.spec.writer(checkpoint?.writer)
    // One that goes on from the state of another response has not begun itself.
    this.started = this.eventCount > 0
    if (!this.started) this.say(this.writer.open())
  }

  private async compute(first: RequestStream | undefined): Promise<void> {
    let run = first
    for (let attempt = 1; ; attempt++) {
      run ??= await this.submit()
      if (!run) break
      this.run = run
      if (this.repeatsJournal && !this.isRepeating) this.goOn()
      const interruption = await this.tell(run, attempt < ATTEMPTS)
      if (interruption !== 'lost' && interruption !== 'unfit') break
      if (interruption === 'unfit') this.checkpoint = undefined
      if (!this.resumable) {
        this.fail({ code: 'engine_failed', facts: { reason: NOT_RESUMABLE } })
        break
      }
      run = undefined
      this.rewind()
    }
    await this.pumping
    this.journal.end()
    this.settle()
  }

  /** What readers had seen has come again: the controls that followed it do now. */
  private goOn(): void {
    this.run?.control({ type: 'repeated' })
    try {
      for (const control of this.record.steers?.slice(this.steered) ?? []) this.give(control)
    } catch (error) {
      // The operator's caps have become lower in the meantime.
      this.fail(toErrorMessage(error))
    }
  }

  /** Undefined where this process must not submit again. */
  private async submit(): Promise<RequestStream | undefined> {
    const { checkpoint } = this
    try {
      const run = await this.spec.submit(
        checkpoint && {
          from: { thought: checkpoint.thought, repeats: this.isRepeating },
          limits: checkpoint.limits,
        },
      )
      if (checkpoint) this.spec.watch.resumed(this.journal.from(checkpoint.next))
      if (!this.silent) return run
      run.control({ type: 'cancel' })
    } catch (error) {
      const leaves = error instanceof BasinError && error.code === 'shutting_down'
      if (!leaves || !this.store?.durable) this.fail(toErrorMessage(error))
    }
    return undefined
  }

  /**
   * Follows a run to its end. `lost`: the engine is gone and the job may be submitted again; `left`: this
   * process is going down and the next one goes on. The loop awaits nothing but the run, because a slow
   * reader of a run loses steps.
   */
  private async tell(run: RequestStream, again: boolean): Promise<Interruption | undefined> {
    for await (const event of run.events) {
      if (this.silent) continue
      if (event.type === 'saved') {
        this.keep(event)
        continue
      }
      if (event.type === 'failed') {
        const interruption = this.interruptionBy(event.error, again)
        if (interruption) return interruption
        this.fail(event.error)
      } else {
        this.started = true
        this.say(this.writer.take(event))
      }
    }
    return undefined
  }

  private keep(saved: Of<'saved'>): void {
    const { limits, steered, steps, thought } = saved
    const { eventCount: next } = this
    const checkpoint = { next, writer: this.writer.memory(), thought, steps, steered, limits }
    this.checkpoint = checkpoint
    for (const give of this.askers.splice(0)) give(checkpoint)
    this.asked = false
    this.unsaved = true
    this.spec.watch.saved(saved)
    this.pump()
    if (this.leaving) this.leave()
  }

  private interruptionBy(error: ErrorMessage, again: boolean): Interruption | undefined {
    const { code } = error
    if (this.checkpoint && this.checkpoint.next > 0 && code === 'invalid_state') {
      this.spec.watch.unfit(this.record.id, String(error.facts['reason']))
      return 'unfit'
    }
    if (!this.resumable) return undefined
    if (code === 'shutting_down' && this.store?.durable) return 'left'
    return code === 'engine_unavailable' && again ? 'lost' : undefined
  }

  private say({ events, final }: EmittedEvents): void {
    for (const event of events) {
      const number = this.eventCount++
      const before = this.journal.at(number)
      if (before === undefined) {
        this.journal.write(textOfEvent(event, number))
      } else if (!this.spec.same(JSON.parse(before) as object, event)) {
        const facts = { reason: 'computed again after an interruption, it came out differently' }
        this.fail({ code: 'engine_failed', facts })
        return
      }
      // The events that open it come before there is a run.
      if (this.eventCount === this.again && this.run) this.goOn()
      if (this.over) return
    }
    if (final !== undefined) {
      this.over = true
      this.changed = true
      this.record.result = final
      this.record.expires = Date.now() + this.spec.keep
    }
    this.pump()
  }

  /** Starts a write unless one is in progress; events that arrive meanwhile go together into the next. */
  private pump(): void {
    this.pumping ??= this.write()
  }

  private async write(): Promise<void> {
    const { journal } = this
    // Events of the same turn of the event loop are written together.
    await Promise.resolve()
    while (this.changed || this.unsaved || journal.published < journal.length) {
      const events = journal.unpublished()
      const entry = {
        record: this.changed ? this.record : undefined,
        from: journal.published,
        events,
        ...(this.unsaved && this.checkpoint && { checkpoint: this.checkpoint }),
      }
      this.changed = false
      this.unsaved = false
      if (!(await this.stored(entry))) break
      journal.publish(events.length)
    }
    this.pumping = undefined
  }

  /**
   * Writes an entry, as often as it takes: nothing is published before it is stored. False where this
   * process goes down first, or another one has the job; that one computes again what is missing. A job that
   * would not survive its connection has failed by then, and its readers are told without the store.
   */
  private async stored(changes: Entry): Promise<boolean> {
    const { record, store } = this
    const began = performance.now()
    let entry = changes
    for (let pause = FIRST_RETRY_MS; ; pause = Math.min(2 * pause, LONGEST_RETRY_MS)) {
      try {
        if (!this.deleted && !this.unstored) await store?.write(record.id, entry)
        return true
      } catch (error) {
        if (error instanceof JobTaken) {
          this.leave()
          return false
        }
        if (error instanceof EventsMissing) {
          entry = this.all(error.count)
          continue
        }
        if (pause === FIRST_RETRY_MS) this.spec.report(error)
        if (!record.durable && performance.now() - began > STORE_PATIENCE_MS)
          this.giveUpStore(error)
      }
      if (this.left) return false
      await this.pausing(pause)
    }
  }

  /** Everything, with the events from this number on. */
  private all(from: number): Entry {
    const { checkpoint, journal, record } = this
    const events = journal.from(from)
    return { record, from, events, ...(checkpoint && !this.over && { checkpoint }) }
  }

  private giveUpStore(error: unknown): void {
    this.unstored = true
    const reason = error instanceof Error ? error.message : String(error)
    this.fail({ code: 'storage_unavailable', facts: { reason } })
  }

  /** Resolves after so many milliseconds, or when this process goes down. */
  private pausing(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

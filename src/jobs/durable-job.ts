/**
 * One job that outlives the connection it was asked on. Its events go into a journal, and an event is in
 * the store before anyone reads it. After a crash the next process computes the job again, since an
 * answer is a function of its seed: it compares the events it gets with those in the journal and appends
 * what is new, so readers see one sequence without gap or repetition. Where the second computation gives
 * other events, the job fails.
 */
import { BasinError, type ErrorMessage, toErrorMessage } from '../errors.js'
import type { RequestStream } from '../generation/client/engine-client.js'
import type { RequestEvent } from '../generation/protocol.js'
import { Journal } from './journal.js'
import type { Entry, JobRecord, JobStore } from './store.js'

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
  /** The events of a cancelled job. */
  cancel(): EmittedEvents
  /** The result so far. */
  present(): unknown
}

/** How a job is run: at first, and again after a restart or the loss of its engine. */
export interface JobSpec {
  writer: () => EventWriter
  /** Submits the request; waits while the queue is full. */
  submit: () => Promise<RequestStream>
  /** Whether a journalled event and a recomputed one are equal. */
  same: (journalled: object, recomputed: object) => boolean
  /** How long the result is kept, in milliseconds. */
  keep: number
  /** Called with the error when the store could not write. */
  report: (error: unknown) => void
}

/** Milliseconds before a write that failed is tried again: at first, and at most. */
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5000
/** Milliseconds after which a job that lives only as long as its connection fails for want of the store. */
const STORE_PATIENCE_MS = 10_000

/** How often one process submits a job before the job fails. */
const ATTEMPTS = 3

/** Why a submission ended before its job: the engine was lost, or this process is going down. */
type Interruption = 'lost' | 'left'

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
  private changed = true
  private pumping: Promise<void> | undefined
  private over = false
  private deleted = false
  private left = false
  /** The store could not be written to for so long that the job has failed without it. */
  private unstored = false
  /** Ends the pause before a write is tried again. */
  private wake: () => void = () => undefined
  private settle: () => void = () => undefined

  /** `store`: undefined for a job that is not kept. `earlierEvents`: those from before a restart. */
  constructor(
    readonly record: JobRecord,
    private readonly spec: JobSpec,
    private readonly store: JobStore | undefined,
    earlierEvents: readonly string[] = [],
  ) {
    this.journal = new Journal(earlierEvents)
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

  /** Follows `run`, or submits one as soon as there is room. */
  begin(run?: RequestStream): void {
    this.say(this.writer.open())
    void this.compute(run)
  }

  /** Ends the job for good: later events of its run are ignored. */
  cancel(): void {
    if (this.over) return
    this.eventCount = this.journal.length
    this.say(this.writer.cancel())
    this.run?.control({ type: 'cancel' })
  }

  fail(error: ErrorMessage): void {
    if (this.over) return
    this.eventCount = this.journal.length
    this.failure = error
    this.say(this.writer.take({ type: 'failed', error }))
    this.run?.control({ type: 'cancel' })
  }

  /** A client has changed its budget, so computing it again would give another result. */
  steer(): void {
    this.record.steered = true
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

  private async compute(first: RequestStream | undefined): Promise<void> {
    let run = first
    for (let attempt = 1; ; attempt++) {
      run ??= await this.submit()
      if (!run) break
      this.run = run
      if ((await this.tell(run, attempt < ATTEMPTS)) !== 'lost') break
      run = undefined
      this.writer = this.spec.writer()
      this.eventCount = 0
      this.say(this.writer.open())
    }
    await this.pumping
    this.journal.end()
    this.settle()
  }

  /** Undefined where this process must not submit again. */
  private async submit(): Promise<RequestStream | undefined> {
    try {
      const run = await this.spec.submit()
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
      if (event.type === 'failed') {
        const interruption = this.interruptionBy(event.error, again)
        if (interruption) return interruption
        this.failure = event.error
      }
      if (event.type !== 'failed') this.started = true
      this.say(this.writer.take(event))
    }
    return undefined
  }

  private interruptionBy({ code }: ErrorMessage, again: boolean): Interruption | undefined {
    if (!this.record.durable || this.record.steered) return undefined
    if (code === 'shutting_down' && this.store?.durable) return 'left'
    return code === 'engine_unavailable' && again ? 'lost' : undefined
  }

  private say({ events, final }: EmittedEvents): void {
    for (const event of events) {
      const number = this.eventCount++
      const before = this.journal.at(number)
      if (before === undefined) {
        this.journal.write(JSON.stringify({ ...event, sequence_number: number }))
      } else if (!this.spec.same(JSON.parse(before) as object, event)) {
        const facts = { reason: 'computed again after an interruption, it came out differently' }
        this.fail({ code: 'engine_failed', facts })
        return
      }
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
    while (this.changed || journal.published < journal.length) {
      const events = journal.unpublished()
      const entry = {
        record: this.changed ? this.record : undefined,
        from: journal.published,
        events,
      }
      this.changed = false
      if (!(await this.stored(entry))) break
      journal.publish(events.length)
    }
    this.pumping = undefined
  }

  /**
   * Writes an entry, as often as it takes: nothing is published before it is stored. False where this
   * process goes down first; the next one computes again what is missing. A job that would not survive its
   * connection has failed by then, and its readers are told without the store.
   */
  private async stored(entry: Entry): Promise<boolean> {
    const { record, store } = this
    const began = performance.now()
    for (let pause = FIRST_RETRY_MS; ; pause = Math.min(2 * pause, LONGEST_RETRY_MS)) {
      try {
        if (!this.deleted && !this.unstored) await store?.write(record.id, entry)
        return true
      } catch (error) {
        if (pause === FIRST_RETRY_MS) this.spec.report(error)
        if (!record.durable && performance.now() - began > STORE_PATIENCE_MS)
          this.giveUpStore(error)
      }
      if (this.left) return false
      await this.pausing(pause)
    }
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

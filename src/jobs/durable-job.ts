/**
 * One job that outlives whoever asked: its run is told to a journal, and what the journal says is in
 * the store before anybody reads it. A process that is killed leaves behind what it has said; the next
 * one computes the job again (the answer is a function of its seed), checks what it says against what
 * was said, and goes on behind that: readers see one story without gap or repetition. Where the second
 * telling differs, the job has failed and says so.
 */
import { BasinError, type ErrorMessage, toErrorMessage } from '../errors.js'
import type { RequestStream } from '../generation/client/engine-client.js'
import type { RequestEvent } from '../generation/protocol.js'
import { Journal } from './journal.js'
import type { JobRecord, JobStore } from './store.js'

/** What an event of the run adds to the journal. */
export interface EmittedEvents {
  events: readonly object[]
  /** The job has ended, and this is what became of it. */
  final?: unknown
}

/** Tells a run in the words of the API that was asked: a state machine over the events of one run. */
export interface EventWriter {
  /** What is said before anything happens. */
  open(): EmittedEvents
  take(event: RequestEvent): EmittedEvents
  /** The client does not want it any more. */
  cancel(): EmittedEvents
  /** What has become of the job so far. */
  present(): unknown
}

/** What a job is made from: once, and again after a restart or the loss of its engine. */
export interface JobSpec {
  writer: () => EventWriter
  /** Waits for room where there is none. */
  submit: () => Promise<RequestStream>
  /** Whether an event that was told and one that is told again say the same. */
  same: (told: object, again: object) => boolean
  /** Milliseconds for which the result is kept. */
  keep: number
  /** Told of what the store could not do. */
  report: (error: unknown) => void
}

/** How often a job is computed again, in one process, before it fails. */
const ATTEMPTS = 3

/** How the telling of one run ended before the job had. */
type Interruption = 'lost' | 'left'

export class DurableJob {
  readonly journal: Journal
  /** Settles when nothing more will be said by this process. */
  readonly done: Promise<void>
  /** Why it failed, if it did. */
  failure: ErrorMessage | undefined
  private writer: EventWriter
  private run: RequestStream | undefined
  private started = false
  /** How many events this telling has had. */
  private told = 0
  private changed = true
  private pumping: Promise<void> | undefined
  private over = false
  private deleted = false
  private left = false
  private settle: () => void = () => undefined

  /** `store`: undefined for a job that leaves nothing behind. `told`: its events before a restart. */
  constructor(
    readonly record: JobRecord,
    private readonly spec: JobSpec,
    private readonly store: JobStore | undefined,
    told: readonly string[] = [],
  ) {
    this.journal = new Journal(told)
    this.writer = spec.writer()
    this.done = new Promise((resolve) => (this.settle = resolve))
  }

  get ended(): boolean {
    return this.over
  }

  /** Failed before anything of it had run. */
  get refused(): boolean {
    return this.failure !== undefined && !this.started
  }

  /** What has become of it so far. */
  get present(): unknown {
    return this.over ? this.record.result : this.writer.present()
  }

  /** Settles when all that was said so far is in the store. */
  async written(): Promise<void> {
    await this.pumping
  }

  /** Tells `run`, or one that is made as soon as there is room. */
  begin(run?: RequestStream): void {
    this.say(this.writer.open())
    void this.compute(run)
  }

  /** Sticky: whatever its run says from now on is not heard. */
  cancel(): void {
    if (this.over) return
    this.told = this.journal.length
    this.say(this.writer.cancel())
    this.run?.control({ type: 'cancel' })
  }

  fail(error: ErrorMessage): void {
    if (this.over) return
    this.told = this.journal.length
    this.failure = error
    this.say(this.writer.take({ type: 'failed', error }))
    this.run?.control({ type: 'cancel' })
  }

  /** Its course was changed: computed again, it would become something else. */
  steer(): void {
    this.record.steered = true
    this.changed = true
    this.pump()
  }

  /** This process goes down: what was said is left as it is. */
  leave(): void {
    this.left = true
    this.run?.control({ type: 'cancel' })
  }

  async delete(): Promise<void> {
    this.deleted = true
    this.cancel()
    await this.pumping
    await this.store?.delete(this.record.id)
  }

  /** Nothing more is said by this process. */
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
      this.told = 0
      this.say(this.writer.open())
    }
    await this.pumping
    this.journal.end()
    this.settle()
  }

  /** Undefined where this process is to make no more runs. */
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
   * To its end. `lost`: the engine is gone, and the run may be made again; `left`: this process goes
   * down, and the next one is to go on. Nothing but the run is waited for, or steps would be lost.
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
      const number = this.told++
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

  /** One write at a time; what comes meanwhile goes together into the next. */
  private pump(): void {
    this.pumping ??= this.write()
  }

  private async write(): Promise<void> {
    const { journal, record, store } = this
    // What is said in the same turn goes together.
    await Promise.resolve()
    while (this.changed || journal.published < journal.length) {
      const events = journal.unpublished()
      const entry = { record: this.changed ? record : undefined, from: journal.published, events }
      this.changed = false
      try {
        if (!this.deleted) await store?.write(record.id, entry)
      } catch (error) {
        this.spec.report(error)
      }
      journal.publish(events.length)
    }
    this.pumping = undefined
  }
}

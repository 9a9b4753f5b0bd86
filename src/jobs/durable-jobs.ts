/**
 * All durable jobs: those that run in this process, and the records of the others in the store. Ended
 * jobs are deleted when they expire, and the oldest of them earlier when the store exceeds its limit.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RequestStream } from '../generation/client/engine-client.js'
import { DurableJob, type JobSpec } from './durable-job.js'
import type { Checkpoint, JobRecord, JobStore } from './store.js'

/** How many events of an ended job are read from the store at once. */
const EVENTS_PER_READ = 256
const SWEEP_INTERVAL_MS = 30_000
/** That a process which goes down waits for last checkpoints. */
const LAST_CHECKPOINTS_MS = 2000

/** Those of a running job come when they come. */
export type JobEvents = AsyncIterable<string> | Iterable<string>

export class DurableJobs {
  private readonly running = new Map<string, DurableJob>()
  private readonly sweeping: NodeJS.Timeout
  private readonly saving: NodeJS.Timeout | undefined

  /** `checkpointSeconds`: between two checkpoints of each durable job; 0: there are none. */
  constructor(
    readonly store: JobStore,
    private readonly report: (error: unknown) => void,
    checkpointSeconds: number,
  ) {
    if (checkpointSeconds > 0)
      this.saving = setInterval(() => {
        for (const job of this.durable) job.save()
      }, checkpointSeconds * 1000).unref()
    this.sweeping = setInterval(() => {
      this.sweep()
    }, SWEEP_INTERVAL_MS).unref()
  }

  /**
   * Starts a job whose request has been submitted. `kept`: it is written to the store; `checkpoint`: where it
   * begins, if not at its prompt.
   */
  start(
    record: JobRecord,
    spec: JobSpec,
    run: RequestStream,
    { checkpoint, kept }: { kept: boolean; checkpoint: Checkpoint | undefined },
  ): DurableJob {
    const store = kept ? this.store : undefined
    const job = new DurableJob(record, spec, store, { events: [], checkpoint })
    return this.enter(job, run)
  }

  /** Goes on with a job of an earlier process; it is submitted as soon as there is room. */
  resume(record: JobRecord, spec: JobSpec): DurableJob {
    const events = this.store.events(record.id, 0, Infinity)
    const checkpoint = this.saving && this.store.checkpoint(record.id)
    return this.enter(new DurableJob(record, spec, this.store, { events, checkpoint }))
  }

  /**
   * This process is going down: jobs that another process can go on with end here with a last checkpoint, as far as
   * these come in time.
   */
  async handOver(): Promise<void> {
    if (!this.saving || !this.store.durable) return
    const pause = sleep(LAST_CHECKPOINTS_MS, undefined, { ref: false })
    await Promise.race([Promise.all(this.durable.map((job) => job.handOver())), pause])
  }

  under(id: string, owner: string): DurableJob | undefined {
    const job = this.running.get(id)
    return job?.record.owner === owner ? job : undefined
  }

  /** Undefined for a job that does not exist, has expired or belongs to another owner. */
  find(id: string, owner: string): JobRecord | undefined {
    const record = this.running.get(id)?.record ?? this.store.get(id)
    if (!record || record.owner !== owner) return undefined
    return record.expires !== null && record.expires <= Date.now() ? undefined : record
  }

  /**
   * Events after number `after`. Of a running job they are followed to its end, until `left` aborts. Of an
   * ended one the first are read now, so that damage among them is thrown before any is sent.
   */
  events(id: string, after: number, left: AbortSignal): JobEvents {
    const job = this.running.get(id)
    if (job) return job.journal.follow(after, left)
    const first = this.store.events(id, after + 1, EVENTS_PER_READ)
    return this.storedEvents(id, after + 1, first, left)
  }

  async delete(id: string): Promise<void> {
    const job = this.running.get(id)
    if (job) await job.delete()
    else await this.store.delete(id)
  }

  /** Jobs that run stay in the store as they are, for the next process. */
  async close(): Promise<void> {
    clearInterval(this.sweeping)
    clearInterval(this.saving)
    for (const job of this.running.values()) job.leave()
    await Promise.all([...this.running.values()].map(({ done }) => done))
    await this.store.close()
  }

  /** `first`: those from `number` on. */
  private *storedEvents(
    id: string,
    number: number,
    first: readonly string[],
    left: AbortSignal,
  ): Generator<string, void> {
    let next = number
    for (let events = first; events.length > 0 && !left.aborted;) {
      yield* events
      next += events.length
      events = this.store.events(id, next, EVENTS_PER_READ)
    }
  }

  private enter(job: DurableJob, run?: RequestStream): DurableJob {
    const { id } = job.record
    this.running.set(id, job)
    job.begin(run)
    void job.done.then(() => this.running.delete(id))
    return job
  }

  private get durable(): DurableJob[] {
    return [...this.running.values()].filter(({ record }) => record.durable)
  }

  private sweep(): void {
    this.store.sweep(Date.now()).catch(this.report)
  }
}

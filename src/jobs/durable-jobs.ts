/**
 * All durable jobs: those that run in this process, and the records of the others in the store. Ended
 * jobs are deleted when they expire, and the oldest of them earlier when the store exceeds its limit. Where
 * several processes share the store, jobs that run elsewhere are followed there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RequestStream } from '../generation/client/engine-client.js'
import { DurableJob, type JobSpec } from './durable-job.js'
import type { SharedJobs } from './shared-jobs.js'
import type { Checkpoint, JobRecord, JobStore } from './store.js'

/** How many events of an ended job are read from the store at once. */
const EVENTS_PER_READ = 256
const SWEEP_INTERVAL_MS = 30_000
/** How long a process that goes down waits for last checkpoints. */
const LAST_CHECKPOINTS_MS = 2000

/** Those of a running job come when they come. */
export type JobEvents = AsyncIterable<string>

export class DurableJobs {
  private readonly running = new Map<string, DurableJob>()
  private readonly sweeping: NodeJS.Timeout
  private readonly saving: NodeJS.Timeout | undefined
  private closing = false

  /**
   * `checkpointSeconds`: between two checkpoints of each durable job; 0: there are none. `shared`: absent where
   * this process alone has the store.
   */
  constructor(
    readonly store: JobStore,
    private readonly report: (error: unknown) => void,
    checkpointSeconds: number,
    private readonly shared?: SharedJobs,
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

  /**
   * Goes on with a job of an earlier process; it is submitted as soon as there is room, unless `decide` ends it.
   */
  async resume(
    record: JobRecord,
    spec: JobSpec,
    decide: (job: DurableJob) => void,
  ): Promise<DurableJob> {
    const events = await this.store.events(record.id, 0, Infinity)
    const checkpoint = this.saving && (await this.store.checkpoint(record.id))
    const job = this.enter(new DurableJob(record, spec, this.store, { events, checkpoint }))
    decide(job)
    return job
  }

  /**
   * Jobs that another process can go on with end here with a last checkpoint, as far as these come in time.
   * `handsOver`: which of them do; absent: all, since this process is going down.
   */
  async handOver(handsOver: (record: JobRecord) => boolean = () => true): Promise<void> {
    if (!this.saving || !this.store.durable) return
    const jobs = this.durable.filter(({ record }) => handsOver(record))
    const pause = sleep(LAST_CHECKPOINTS_MS, undefined, { ref: false })
    await Promise.race([Promise.all(jobs.map((job) => job.handOver())), pause])
  }

  under(id: string, owner: string): DurableJob | undefined {
    const job = this.running.get(id)
    return job?.record.owner === owner ? job : undefined
  }

  /** Undefined for a job that does not run in this process. */
  runningJob(id: string): DurableJob | undefined {
    return this.running.get(id)
  }

  /** Undefined for a job that does not exist, has expired or belongs to another owner. */
  async find(id: string, owner: string): Promise<JobRecord | undefined> {
    const record = this.running.get(id)?.record ?? (await this.store.get(id))
    if (!record || record.owner !== owner) return undefined
    return record.expires !== null && record.expires <= Date.now() ? undefined : record
  }

  /**
   * Events after number `after`. Of a running job they are followed to its end, until `left` aborts. Of an
   * ended one the first are read now, so that damage among them is thrown before any is sent.
   */
  async events(id: string, after: number, left: AbortSignal): Promise<JobEvents> {
    if (this.shared) return this.followed(this.shared, id, after, left)
    const job = this.running.get(id)
    if (job) return job.journal.follow(after, left)
    const first = await this.store.events(id, after + 1, EVENTS_PER_READ)
    return this.storedEvents(id, after + 1, first, left)
  }

  async delete(id: string): Promise<void> {
    const job = this.running.get(id)
    if (job) await job.delete()
    else await this.store.delete(id)
  }

  /** Jobs that run stay in the store as they are, for the next process. */
  async close(): Promise<void> {
    this.closing = true
    clearInterval(this.sweeping)
    clearInterval(this.saving)
    for (const job of this.running.values()) job.leave()
    await Promise.all([...this.running.values()].map(({ done }) => done))
    await this.store.close()
  }

  /** Where the job leaves this process, its events go on to come from the others. */
  private async *followed(
    shared: SharedJobs,
    id: string,
    after: number,
    left: AbortSignal,
  ): AsyncGenerator<string, void> {
    let last = after
    for (let job = this.running.get(id); job && !left.aborted; job = this.running.get(id)) {
      for await (const event of job.journal.follow(last, left)) {
        last++
        yield event
      }
      if (job.ended || this.closing) return
      await job.done
    }
    yield* shared.follow(id, last, left)
  }

  /** `first`: those from `number` on. */
  private async *storedEvents(
    id: string,
    number: number,
    first: readonly string[],
    left: AbortSignal,
  ): AsyncGenerator<string, void> {
    let next = number
    for (let events = first; events.length > 0 && !left.aborted;) {
      yield* events
      next += events.length
      events = await this.store.events(id, next, EVENTS_PER_READ)
    }
  }

  private enter(job: DurableJob, run?: RequestStream): DurableJob {
    const { id } = job.record
    this.running.set(id, job)
    job.begin(run)
    void job.done.then(() => {
      if (this.running.get(id) === job) this.running.delete(id)
    })
    return job
  }

  private get durable(): DurableJob[] {
    return [...this.running.values()].filter(({ record }) => record.durable)
  }

  private sweep(): void {
    this.store.sweep(Date.now()).catch(this.report)
  }
}

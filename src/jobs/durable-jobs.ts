/**
 * All jobs that are known: those under way, and what the store has of the others. Ended ones are
 * forgotten when their time is over, the oldest first when they take too much room.
 */
import type { RequestStream } from '../generation/client/engine-client.js'
import { DurableJob, type JobSpec } from './durable-job.js'
import type { JobRecord, JobStore } from './store.js'

/** Events of an ended job that are read at once. */
const PAGE = 256
const SWEEP = 30_000

export class DurableJobs {
  private readonly running = new Map<string, DurableJob>()
  private readonly sweeping: NodeJS.Timeout

  constructor(
    readonly store: JobStore,
    private readonly report: (error: unknown) => void,
  ) {
    this.sweeping = setInterval(() => {
      this.sweep()
    }, SWEEP).unref()
  }

  /** Begins to tell a run. `kept`: it leaves a record behind. */
  start(record: JobRecord, spec: JobSpec, run: RequestStream, kept: boolean): DurableJob {
    const job = new DurableJob(record, spec, kept ? this.store : undefined)
    return this.enter(job, run)
  }

  /** Goes on with a job that an earlier process left behind; `run` is made as soon as there is room. */
  resume(record: JobRecord, spec: JobSpec): DurableJob {
    const told = this.store.events(record.id, 0, Infinity)
    return this.enter(new DurableJob(record, spec, this.store, told))
  }

  under(id: string, owner: string): DurableJob | undefined {
    const job = this.running.get(id)
    return job?.record.owner === owner ? job : undefined
  }

  /** Undefined for what is not there, has expired, or is somebody else's. */
  find(id: string, owner: string): JobRecord | undefined {
    const record = this.running.get(id)?.record ?? this.store.get(id)
    if (!record || record.owner !== owner) return undefined
    return record.expires !== null && record.expires <= Date.now() ? undefined : record
  }

  /** Its events after number `after`: to the end of a job under way, or those of one that has ended. */
  async *events(id: string, after: number, left: AbortSignal): AsyncGenerator<string, void> {
    const job = this.running.get(id)
    if (job) {
      yield* job.journal.follow(after, left)
      return
    }
    for (let next = after + 1; !left.aborted;) {
      const page = this.store.events(id, next, PAGE)
      if (page.length === 0) return
      yield* page
      next += page.length
    }
  }

  async delete(id: string): Promise<void> {
    const job = this.running.get(id)
    if (job) await job.delete()
    else await this.store.delete(id)
  }

  /** What is under way stays in the store as it is. */
  async close(): Promise<void> {
    clearInterval(this.sweeping)
    for (const job of this.running.values()) job.leave()
    await Promise.all([...this.running.values()].map(({ done }) => done))
    await this.store.close()
  }

  private enter(job: DurableJob, run?: RequestStream): DurableJob {
    const { id } = job.record
    this.running.set(id, job)
    job.begin(run)
    void job.done.then(() => this.running.delete(id))
    return job
  }

  private sweep(): void {
    this.store.sweep(Date.now()).catch(this.report)
  }
}

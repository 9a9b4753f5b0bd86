/**
 * The queues of BullMQ, one for each model. Its locks say who runs a job; a job whose lock ran out is given to
 * another process. Here a job is a number and a place in the queue: all else of it is in the store.
 */
import { DelayedError, type Job, Queue, Worker } from 'bullmq'
import type { RedisLink } from '../redis-link.js'
import type { Outcome, QueueCounts } from '../shared-jobs.js'

const PREFIX = 'basin:queue'
/** All models that jobs were queued for. */
const MODELS = 'basin:models'
/** How long a job is left alone for which a process had no room. */
const BUSY_MS = 1000
/** What BullMQ keeps of what has happened in a queue: nothing here reads it. */
const MOST_EVENTS = 100

/** What a process has left of a job, for the next one. */
interface Left {
  /** When it began to leave, in milliseconds of Unix time. */
  at: number
  /** How often the job had been started then. */
  starts: number
}

export interface TakenJob {
  id: string
  model: string
  token: string
  lock: { key: string; value: string }
  /** How it comes here: new, left in good order at this time, or because its process did not answer. */
  from: 'queue' | 'lost' | { leftAt: number }
}

export interface QueueOptions {
  /** Jobs of each model that this process runs at once. */
  jobs: number
  /** After which a process that does not answer loses its jobs. */
  leaseSeconds: number
  /** Is told what the library reports. */
  report: (error: Error) => void
}

export type Work = (taken: TakenJob) => Promise<Outcome>

/** A name of a queue holds no colon. */
const nameOf = (model: string): string => encodeURIComponent(model)

export class JobQueues {
  private readonly queues = new Map<string, Queue>()
  private readonly workers = new Map<string, Worker>()
  private leaving: number | undefined

  constructor(
    private readonly link: RedisLink,
    private readonly options: QueueOptions,
  ) {}

  /** `priority`: 1 comes first. A job that is queued already stays where it is. */
  async add(model: string, id: string, priority: number): Promise<void> {
    await this.link.redis.sadd(MODELS, model)
    await this.queue(model).add('response', {}, { jobId: id, priority })
  }

  async has(model: string, id: string): Promise<boolean> {
    return (await this.link.redis.exists(`${PREFIX}:${nameOf(model)}:${id}`)) === 1
  }

  /** False where a process runs it. */
  async remove(model: string, id: string): Promise<boolean> {
    return (await this.queue(model).remove(id)) === 1
  }

  lockOf(model: string, id: string): string {
    return `${PREFIX}:${nameOf(model)}:${id}:lock`
  }

  /** Takes jobs of these models, and of no others. */
  serve(models: readonly string[], work: Work): void {
    for (const [model, worker] of this.workers) if (!models.includes(model)) void worker.pause(true)
    for (const model of models) {
      const worker = this.workers.get(model)
      if (worker?.isPaused()) void worker.resume()
      if (!worker) this.workers.set(model, this.open(model, work))
    }
  }

  /** Takes no more jobs; those that are left go back to their queues. */
  async drain(): Promise<void> {
    this.leaving ??= Date.now()
    await Promise.all([...this.workers.values()].map((worker) => worker.pause(true)))
  }

  async counts(): Promise<ReadonlyMap<string, QueueCounts>> {
    const models = await this.link.redis.smembers(MODELS)
    const counted = models.map(async (model): Promise<[string, QueueCounts]> => {
      const kinds = ['active', 'waiting', 'prioritized', 'delayed'] as const
      const {
        active = 0,
        delayed = 0,
        prioritized = 0,
        waiting = 0,
      } = await this.queue(model).getJobCounts(...kinds)
      return [model, { running: active, waiting: waiting + prioritized + delayed }]
    })
    return new Map(await Promise.all(counted))
  }

  /** All queues that there are, for a page that shows them. */
  async all(): Promise<readonly Queue[]> {
    return (await this.link.redis.smembers(MODELS)).map((model) => this.queue(model))
  }

  async close(): Promise<void> {
    // Where Redis cannot be reached, nothing can be said to it: locks run out by themselves.
    const force = !this.link.ready
    await Promise.all([...this.workers.values()].map((worker) => worker.close(force)))
    await Promise.all([...this.queues.values()].map((queue) => queue.close()))
  }

  private queue(model: string): Queue {
    const known = this.queues.get(model)
    if (known) return known
    const queue = new Queue(nameOf(model), {
      connection: this.link.redis,
      prefix: PREFIX,
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
      streams: { events: { maxLen: MOST_EVENTS } },
    })
    queue.on('error', this.options.report)
    this.queues.set(model, queue)
    return queue
  }

  private open(model: string, work: Work): Worker {
    const { jobs, leaseSeconds, report } = this.options
    const connection = this.link.waiting()
    const worker = new Worker<Partial<Left>>(
      nameOf(model),
      (job, token = '') => this.process(model, job, token, work),
      {
        connection,
        prefix: PREFIX,
        concurrency: jobs,
        lockDuration: leaseSeconds * 1000,
        stalledInterval: leaseSeconds * 500,
        // How often a job may be lost is for its runner to say.
        maxStalledCount: Number.MAX_SAFE_INTEGER,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      },
    )
    worker.on('error', report)
    worker.on('closed', () => {
      connection.disconnect()
    })
    return worker
  }

  private async process(
    model: string,
    job: Job<Partial<Left>>,
    token: string,
    work: Work,
  ): Promise<void> {
    const { id = '' } = job
    const lock = { key: this.lockOf(model, id), value: token }
    const outcome = await work({ id, model, token, lock, from: originOf(job) })
    if (outcome === 'ended') return
    if (outcome === 'unserved') void this.workers.get(model)?.pause(true)
    const now = Date.now()
    if (outcome === 'left')
      await job.updateData({ at: this.leaving ?? now, starts: job.attemptsStarted })
    await job.moveToDelayed(outcome === 'busy' ? now + BUSY_MS : now, token)
    throw new DelayedError()
  }
}

function originOf({ attemptsStarted, data }: Job<Partial<Left>>): TakenJob['from'] {
  if (data.at !== undefined && data.starts === attemptsStarted - 1) return { leftAt: data.at }
  return attemptsStarted > 1 ? 'lost' : 'queue'
}

/**
 * Several servers on one Redis: each takes background jobs of its models from the queue, and each answers for all
 * of them. The queue is BullMQ's (job-queues.ts), the store has the fences (redis-store.ts); here the servers tell
 * each other of events and of what clients want.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import { BasinError, type ErrorMessage, fromErrorMessage, toErrorMessage } from '../../errors.js'
import { type LinkLog, RedisLink } from '../redis-link.js'
import {
  type FirstEntry,
  type FleetListener,
  type JobRunner,
  notRunning,
  type Outcome,
  type QueueCounts,
  type RemoteControl,
  type SharedJobs,
} from '../shared-jobs.js'
import { type JobRecord, JobTaken } from '../store.js'
import { JobQueues, type TakenJob } from './job-queues.js'
import { NewsReader, News } from './news.js'
import { RedisReplies } from './redis-replies.js'
import { CONTROLS_CHANNEL, newsOf, RedisStore } from './redis-store.js'

export interface FleetOptions {
  url: string
  /** Characters of all stored jobs, beyond which the oldest ended ones are deleted. */
  limit: number
  /** Jobs of each model that this process runs at once. */
  jobs: number
  /** After which a process that does not answer loses its jobs. */
  leaseSeconds: number
  log: LinkLog & { warn: (details: object, line: string) => void }
}

/** How long a reader waits for news before it looks by itself: news may be lost. */
const LOOK_AGAIN_MS = 5000
/** How long a Redis that did not answer is left alone. */
const RETRY_MS = 500
const EVENTS_PER_READ = 256
/** How long the process that runs a job may take to answer a control. */
const CONTROL_MS = 10_000
/** How often jobs are looked for that are stored but not queued: their process died between the two. */
const REQUEUE_MS = 15_000
/** Jobs younger than this may still be on their way into the queue. */
const REQUEUE_AFTER_S = 10
/** BullMQ takes no larger priority. */
const LAST_PRIORITY = 2 ** 21

const STATE_KEY = 'basin:state-key'
const STATE_KEY_BYTES = 32

interface Request {
  number: string
  /** Where its answer is expected. */
  by: string
  control: RemoteControl
}

type Reply = { number: string; result: object } | { number: string; error: ErrorMessage }

export class Fleet implements SharedJobs {
  readonly store: RedisStore
  readonly replies: RedisReplies
  private readonly name = randomUUID()
  private readonly queues: JobQueues
  private readonly news: News
  private readonly answers = new Map<string, (reply: Reply) => void>()
  /** Jobs whose controls are being looked at, and whether there may be more. */
  private readonly serving = new Map<string, { again: boolean }>()
  private readonly requeueing: NodeJS.Timeout
  private runner: JobRunner | undefined
  private listener: FleetListener = { taken: () => undefined, moved: () => undefined }
  private draining = false

  private constructor(
    private readonly link: RedisLink,
    private readonly options: FleetOptions,
  ) {
    const { jobs, leaseSeconds, limit, log } = options
    this.store = new RedisStore(link, limit)
    this.replies = new RedisReplies(link, leaseSeconds)
    const report = (error: Error) => {
      log.debug({ err: error }, 'fleet: the queue')
    }
    this.queues = new JobQueues(link, { jobs, leaseSeconds, report })
    this.news = new News(link.waiting())
    this.news.listen(CONTROLS_CHANNEL, (id) => {
      this.steerable(id)
    })
    this.news.listen(repliesTo(this.name), (text) => {
      const reply = JSON.parse(text) as Reply
      this.answers.get(reply.number)?.(reply)
    })
    this.requeueing = setInterval(() => void this.requeue(), REQUEUE_MS).unref()
  }

  /** Throws `invalid_data`, also where Redis cannot be reached. */
  static async open(options: FleetOptions): Promise<Fleet> {
    const facts = { path: '--redis-url', reason: 'this Redis cannot be reached' }
    const unreachable = new BasinError('invalid_data', facts)
    return new Fleet(await RedisLink.open(options.url, 'fleet', unreachable, options.log), options)
  }

  get takes(): boolean {
    return this.link.ready && !this.draining
  }

  /** The secret by which all servers that share the Redis sign states; made by the first of them. */
  async stateKey(): Promise<Uint8Array> {
    await this.link.redis.set(STATE_KEY, randomBytes(STATE_KEY_BYTES), 'NX')
    const key = await this.link.redis.getBuffer(STATE_KEY)
    if (!key) throw new BasinError('storage_unavailable', { reason: 'Redis has lost a key' })
    return new Uint8Array(key)
  }

  listen(listener: FleetListener): void {
    this.listener = listener
  }

  async add(record: JobRecord, first: FirstEntry): Promise<void> {
    const outstanding = await this.written(record, first)
    // The second job of a client waits behind the first ones of all others, the third behind their second ones.
    await this.asked(() =>
      this.queues.add(record.model, record.id, Math.min(outstanding, LAST_PRIORITY)),
    )
  }

  start(runner: JobRunner): void {
    this.runner = runner
    this.modelsChanged()
  }

  modelsChanged(): void {
    if (this.draining) return
    this.queues.serve(this.runner?.models ?? [], (taken) => this.work(taken))
  }

  steerable(id: string): void {
    if (!this.runner?.runs(id)) return
    const serving = this.serving.get(id)
    if (serving) {
      serving.again = true
      return
    }
    void this.serve(id)
  }

  async *follow(id: string, after: number, left: AbortSignal): AsyncGenerator<string, void> {
    const reader = new NewsReader()
    const stop = this.news.listen(newsOf(id), () => {
      reader.tell()
    })
    try {
      for (let next = after + 1; !left.aborted;) {
        const found = await this.read(id, next, left)
        if (!found) return
        yield* found.events
        next += found.events.length
        if (found.events.length > 0) continue
        if (found.over) return
        await reader.heard(LOOK_AGAIN_MS, left)
      }
    } finally {
      stop()
    }
  }

  async control(id: string, control: RemoteControl): Promise<object> {
    const number = randomUUID()
    const request = JSON.stringify({ number, by: this.name, control } satisfies Request)
    const answer = new Promise<Reply>((resolve) => this.answers.set(number, resolve))
    try {
      await this.store.leaveControl(id, request)
      const reply = await within(answer, CONTROL_MS)
      if (!reply) {
        // Where it cannot be taken back, it is in hand and will have its effect.
        await this.store.withdrawControl(id, request)
        throw new BasinError('owner_unavailable', { what: id })
      }
      if ('error' in reply) throw fromErrorMessage(reply.error)
      return reply.result
    } catch (error) {
      if (error instanceof JobTaken) throw notRunning(id)
      throw error
    } finally {
      this.answers.delete(number)
    }
  }

  async withdraw({ id, model }: JobRecord): Promise<(() => void) | undefined> {
    if (!(await this.asked(() => this.queues.remove(model, id)))) return undefined
    const token = randomUUID()
    try {
      await this.store.take(id, token, { key: this.queues.lockOf(model, id), value: '' })
      return () => {
        this.store.leave(id, token)
      }
    } catch (error) {
      if (error instanceof JobTaken) return undefined
      throw error
    }
  }

  async drain(): Promise<void> {
    this.draining = true
    await this.queues.drain()
  }

  counts(): Promise<ReadonlyMap<string, QueueCounts>> {
    return this.asked(() => this.queues.counts())
  }

  /** For a page that shows them. */
  allQueues(): Promise<readonly Queue[]> {
    return this.asked(() => this.queues.all())
  }

  async close(): Promise<void> {
    clearInterval(this.requeueing)
    await this.queues.close()
    this.news.close()
    await this.link.close()
  }

  private async written(record: JobRecord, first: FirstEntry): Promise<number> {
    if (!this.link.ready)
      throw new BasinError('storage_unavailable', { reason: 'Redis cannot be reached' })
    return this.store.create(record, first)
  }

  /** Rejects with `storage_unavailable` where Redis does not answer. */
  private async asked<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command()
    } catch (cause) {
      throw new BasinError('storage_unavailable', { reason: 'Redis does not answer' }, { cause })
    }
  }

  private async work({ from, id, lock, model, token }: TakenJob): Promise<Outcome> {
    const { runner } = this
    if (!runner || this.draining) return 'left'
    let tries: number
    try {
      tries = await this.store.take(id, token, lock)
    } catch (error) {
      // It was deleted, or another process has it by now; BullMQ knows which.
      if (error instanceof JobTaken) return 'ended'
      if (error instanceof BasinError && error.code === 'storage_unavailable') return 'busy'
      throw error
    }
    this.count(id, model, from)
    try {
      return await runner.run(id, tries)
    } finally {
      this.store.leave(id, token)
    }
  }

  private count(id: string, model: string, from: TakenJob['from']): void {
    const { log } = this.options
    if (typeof from !== 'object') {
      this.listener.taken(model, from === 'queue' ? 'queued' : 'lost')
      const of = 'a server that does not answer any more'
      if (from === 'lost') log.warn({ response: id, model }, `fleet: a response of ${of} goes on`)
      return
    }
    this.listener.taken(model, 'left')
    log.debug({ response: id, model }, 'fleet: a response that a server has left goes on')
    // Clocks of different machines may disagree.
    this.listener.moved(model, Math.max(0, Date.now() - from.leftAt) / 1000)
  }

  /** Applies the controls of a job one after another, as long as it takes them. */
  private async serve(id: string): Promise<void> {
    const serving = { again: false }
    this.serving.set(id, serving)
    for (let more = true; more; more = this.serving.get(id)?.again ?? false) {
      serving.again = false
      try {
        while (await this.applyNext(id));
      } catch (error) {
        if (!(error instanceof BasinError)) throw error
        // Redis does not answer: whoever asked is told so.
        this.options.log.warn({ err: error }, 'fleet: a control could not be taken')
      }
    }
    this.serving.delete(id)
  }

  /** False where no control waits that can be applied now. */
  private async applyNext(id: string): Promise<boolean> {
    const text = await this.store.takeControl(id)
    if (text === undefined || !this.runner) return false
    const { by, control, number } = JSON.parse(text) as Request
    let reply: Reply
    try {
      const inRecord = () => {
        this.store.givesControl(id, text)
      }
      const result = await this.runner.apply(id, control, inRecord)
      if (!result) return false
      reply = { number, result }
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      reply = { number, error: toErrorMessage(error) }
    }
    // Where another process has the job by now, that one applies the control, and answers.
    if (!(await this.store.dropControl(id, text))) return false
    await this.link.redis.publish(repliesTo(by), JSON.stringify(reply)).catch((cause: unknown) => {
      throw new BasinError('storage_unavailable', { reason: 'Redis does not answer' }, { cause })
    })
    return true
  }

  /** Events from a number on, and whether these are the last; undefined once `left` has aborted. */
  private async read(
    id: string,
    next: number,
    left: AbortSignal,
  ): Promise<{ events: string[]; over: boolean } | undefined> {
    while (!left.aborted) {
      try {
        const over = await this.store.isOver(id)
        return { events: await this.store.events(id, next, EVENTS_PER_READ), over }
      } catch (error) {
        if (!(error instanceof BasinError) || error.code !== 'storage_unavailable') throw error
      }
      await sleep(RETRY_MS)
    }
    return undefined
  }

  /** Queues jobs that are stored but not queued: their process died, or Redis was lost, between the two. */
  private async requeue(): Promise<void> {
    if (!this.link.ready || this.draining) return
    try {
      for (const { id, model } of await this.store.openSince(REQUEUE_AFTER_S))
        if (!(await this.queues.has(model, id))) await this.queues.add(model, id, 1)
    } catch (error) {
      this.options.log.warn({ err: error }, 'fleet: the queue could not be looked through')
    }
  }
}

const repliesTo = (name: string): string => `basin:replies:${name}`

/** Undefined where it has not come within so many milliseconds. */
async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> {
  const over = new AbortController()
  const pause = sleep(milliseconds, undefined, { signal: over.signal }).catch(() => undefined)
  try {
    return await Promise.race([promise, pause])
  } finally {
    over.abort()
  }
}

/**
 * Jobs in a Redis that several servers share. Whoever runs a job has taken it with a token, and every write says
 * the token: a server that was paused while another took its job writes nothing more. What cannot outlive its
 * connection is kept here until its end, and then put into Redis, if need be later: it does not wait for Redis.
 */
import type { Redis } from 'ioredis'
import { BasinError } from '../../errors.js'
import { checkpointIn, checkpointText } from '../checkpoint-text.js'
import { MemoryStore } from '../memory-store.js'
import type { RedisLink } from '../redis-link.js'
import type { FirstEntry } from '../shared-jobs.js'
import {
  type Checkpoint,
  type Entry,
  EventsMissing,
  type JobRecord,
  type JobStore,
  JobTaken,
} from '../store.js'
import { CONTROL, DELETE, DROP_CONTROL, TAKE, TAKE_CONTROL, TAKEN, WRITE } from './scripts.js'

/** Events of one job; thinning.ts leaves far fewer. */
const MOST_EVENTS = 131_072
/** Redis deletes by itself what no server has deleted for so long after its time. */
const LEFT_OVER_MS = 3_600_000
/** How long a write waits for a Redis that cannot be reached, before it fails and is tried again. */
const PATIENCE_MS = 5000
/** Ended jobs that one sweep looks at. */
const SWEPT_AT_ONCE = 256

const keys = {
  job: (id: string) => `basin:job:${id}`,
  events: (id: string) => `basin:events:${id}`,
  controls: (id: string) => `basin:controls:${id}`,
  open: 'basin:open',
  ended: 'basin:ended',
  weights: 'basin:weights',
  characters: 'basin:characters',
  clients: 'basin:clients',
}

/** The channel on which the number of a job's events is said whenever there are more. */
export const newsOf = (id: string): string => `basin:news:${id}`
/** The channel on which the ids of jobs are said for which there are controls. */
export const CONTROLS_CHANNEL = 'basin:controls'

const keysOf = (id: string): string[] => [
  keys.job(id),
  keys.events(id),
  keys.open,
  keys.ended,
  keys.weights,
  keys.characters,
  keys.controls(id),
  keys.clients,
]

export class RedisStore implements JobStore {
  readonly durable = true
  /** What Redis cannot take now waits here, or is refused when it is queued. */
  readonly failing = false
  /** Jobs that this process has taken, by their tokens. */
  private readonly tokens = new Map<string, string>()
  /** Controls in hand that are in the record which is written next. */
  private readonly given = new Map<string, string>()
  /** Jobs that end with their connections, from their beginning until Redis has them. */
  private readonly own: MemoryStore
  private readonly ended = new Set<string>()
  private readonly redis: Redis
  /** Writes that wait for a Redis which cannot be reached. */
  private readonly waiting = new Set<() => void>()

  /** `limit`: characters beyond which the oldest ended jobs are deleted. */
  constructor(
    private readonly link: RedisLink,
    private readonly limit: number,
  ) {
    this.redis = link.redis
    this.own = new MemoryStore(limit)
    link.redis.on('ready', this.proceed)
  }

  async get(id: string): Promise<JobRecord | undefined> {
    const own = this.own.get(id)
    if (own) return own
    const text = await this.ask((redis) => redis.hget(keys.job(id), 'record'))
    return text === null ? undefined : (JSON.parse(text) as JobRecord)
  }

  async write(id: string, entry: Entry): Promise<void> {
    const record = entry.record ?? this.own.get(id)
    if (record?.durable !== false) {
      await this.put(id, entry)
      return
    }
    await this.own.write(id, entry)
    if (record.expires === null) return
    this.ended.add(id)
    await this.putEnded()
  }

  async events(id: string, from: number, most: number): Promise<string[]> {
    if (this.own.get(id)) return this.own.events(id, from, most)
    const range = [keys.events(id), `0-${from + 1}`, '+'] as const
    const found = await this.ask((redis) =>
      most === Infinity ? redis.xrange(...range) : redis.xrange(...range, 'COUNT', most),
    )
    return found.map(([number, [, text]], i) => {
      if (number !== `0-${from + i + 1}` || text === undefined)
        throw new BasinError('damaged', { what: id })
      return text
    })
  }

  async checkpoint(id: string): Promise<Checkpoint | undefined> {
    const text = await this.ask((redis) => redis.hget(keys.job(id), 'checkpoint'))
    return text === null ? undefined : checkpointIn(text)
  }

  async delete(id: string): Promise<void> {
    await this.own.delete(id)
    this.ended.delete(id)
    await this.ask((redis) => redis.eval(DELETE, 8, ...keysOf(id), newsOf(id), id))
  }

  async unfinished(): Promise<JobRecord[]> {
    const ids = await this.ask((redis) => redis.zrange(keys.open, '0', '-1'))
    const records = await Promise.all(ids.map((id) => this.get(id)))
    return records.flatMap((record) => (record?.expires === null ? [record] : []))
  }

  async sweep(now: number): Promise<void> {
    await this.own.sweep(now)
    for (;;) {
      const [oldest, characters] = await this.ask((redis) =>
        Promise.all([
          redis.zrange(keys.ended, '0', `${SWEPT_AT_ONCE - 1}`, 'WITHSCORES'),
          redis.get(keys.characters),
        ]),
      )
      let surplus = Number(characters ?? 0) - this.limit
      let deleted = 0
      for (let i = 0; i < oldest.length; i += 2) {
        const [id = '', expires] = oldest.slice(i, i + 2)
        if (Number(expires) > now && surplus <= 0) return
        surplus -= Number(await this.ask((redis) => redis.zscore(keys.weights, id)))
        await this.delete(id)
        deleted++
      }
      if (deleted < SWEPT_AT_ONCE) return
    }
  }

  close(): Promise<void> {
    this.redis.off('ready', this.proceed)
    return this.own.close()
  }

  /**
   * The job is this process's from now on, under this token; `lock`: what holds it in the queue, and '' where
   * nothing does. Returns how often it was taken since its last checkpoint. Throws `JobTaken`.
   */
  async take(id: string, token: string, lock: { key: string; value: string }): Promise<number> {
    const reply = await this.ask((redis) =>
      redis.eval(TAKE, 2, keys.job(id), lock.key, token, lock.value),
    )
    if (reply === TAKEN) throw new JobTaken(id)
    this.tokens.set(id, token)
    return Number(reply)
  }

  /** This process runs it no more. */
  leave(id: string, token: string): void {
    if (this.tokens.get(id) === token) this.tokens.delete(id)
  }

  /** Writes a job that nobody has taken yet. Returns how many unfinished ones its client has, with this one. */
  create(record: JobRecord, first: FirstEntry): Promise<number> {
    return this.put(record.id, { ...first, record, from: 0 })
  }

  /** Puts a control behind those that wait for whoever runs the job. Throws `JobTaken` where it has ended. */
  async leaveControl(id: string, control: string): Promise<void> {
    const reply = await this.ask((redis) =>
      redis.eval(CONTROL, 2, keys.job(id), keys.controls(id), control, CONTROLS_CHANNEL, id),
    )
    if (reply === TAKEN) throw new JobTaken(id)
  }

  /** Takes the oldest control in hand; undefined where there is none, or another process has the job. */
  async takeControl(id: string): Promise<string | undefined> {
    const token = this.tokens.get(id) ?? ''
    const reply = await this.ask((redis) =>
      redis.eval(TAKE_CONTROL, 2, keys.job(id), keys.controls(id), token),
    )
    return typeof reply === 'string' && reply !== '' ? reply : undefined
  }

  /** The control in hand is in the record that is written next, and gone with it. */
  givesControl(id: string, control: string): void {
    this.given.set(id, control)
  }

  /** The control has had its effect, or none. False where another process has the job, and may apply it again. */
  async dropControl(id: string, control: string): Promise<boolean> {
    if (this.given.get(id) === control) this.given.delete(id)
    const token = this.tokens.get(id) ?? ''
    const reply = await this.ask((redis) =>
      redis.eval(DROP_CONTROL, 1, keys.job(id), token, control),
    )
    return reply !== TAKEN
  }

  /** Takes a control back. False where whoever runs the job has it already. */
  async withdrawControl(id: string, control: string): Promise<boolean> {
    return (await this.ask((redis) => redis.lrem(keys.controls(id), 1, control))) > 0
  }

  /** Whether it has ended or is not there. */
  async isOver(id: string): Promise<boolean> {
    const [owner, expires] = await this.ask((redis) =>
      redis.hmget(keys.job(id), 'owner', 'expires'),
    )
    return owner === null || expires !== null
  }

  /** Unfinished jobs that are older than so many seconds. */
  async openSince(seconds: number): Promise<Pick<JobRecord, 'id' | 'model'>[]> {
    return this.ask(async (redis) => {
      const [now] = await redis.time()
      const ids = await redis.zrange(keys.open, '-inf', `${Number(now) - seconds}`, 'BYSCORE')
      const models = await Promise.all(ids.map((id) => redis.hget(keys.job(id), 'model')))
      return ids.flatMap((id, i) => {
        const model = models[i]
        return model ? [{ id, model }] : []
      })
    })
  }

  /** Rejects with `storage_unavailable` where Redis does not answer. */
  private async ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    try {
      return await command(this.redis)
    } catch (cause) {
      if (cause instanceof BasinError) throw cause
      throw new BasinError('storage_unavailable', { reason: 'Redis does not answer' }, { cause })
    }
  }

  private async put(id: string, { checkpoint, events, from, record }: Entry): Promise<number> {
    await this.reachable()
    const text = record ? JSON.stringify(record) : ''
    const expires = record?.expires ?? null
    const given = record && this.given.get(id)
    const args = [
      this.tokens.get(id) ?? '',
      from,
      text,
      text.length,
      expires ?? '',
      expires === null ? '' : Math.max(1, Math.ceil(expires - Date.now())) + LEFT_OVER_MS,
      checkpoint ? checkpointText(checkpoint) : '',
      newsOf(id),
      id,
      record?.job.client ?? '',
      MOST_EVENTS,
      given ?? '',
      record?.model ?? '',
      ...events,
    ]
    const reply = Number(await this.ask((redis) => redis.eval(WRITE, 8, ...keysOf(id), ...args)))
    if (given !== undefined && this.given.get(id) === given) this.given.delete(id)
    if (reply === TAKEN) throw new JobTaken(id)
    if (reply < TAKEN) throw new EventsMissing(-2 - reply)
    return reply
  }

  /** Resolves when Redis can be reached, or after a while. */
  private async reachable(): Promise<void> {
    if (this.link.ready) return
    await new Promise<void>((resolve) => {
      const proceed = () => {
        clearTimeout(timer)
        this.waiting.delete(proceed)
        resolve()
      }
      const timer = setTimeout(proceed, PATIENCE_MS)
      this.waiting.add(proceed)
    })
  }

  private readonly proceed = (): void => {
    for (const proceed of [...this.waiting]) proceed()
    void this.putEnded()
  }

  /** What has ended without Redis goes there as soon as it can be reached. */
  private async putEnded(): Promise<void> {
    for (const id of this.ended) {
      if (!this.link.ready) return
      const record = this.own.get(id)
      try {
        if (record)
          await this.put(id, { record, from: 0, events: this.own.events(id, 0, Infinity) })
      } catch (error) {
        if (error instanceof BasinError) return
        if (!(error instanceof JobTaken)) throw error
      }
      this.ended.delete(id)
      await this.own.delete(id)
    }
  }
}

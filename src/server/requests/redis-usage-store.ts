/**
 * What clients have used, in a Redis that several servers share: a hash per client and window, which
 * Redis forgets by itself. One round trip a request. Without Redis nothing is let in: a limit that goes
 * when its memory does is none.
 */
import { Redis } from 'ioredis'
import type { FastifyBaseLogger } from 'fastify'
import { BasinError } from '../../errors.js'
import { type UsageStore, usageKinds, noUsage, type ClientUsage } from './usage-store.js'

/** Seconds for which Redis keeps a window: longer than clocks of servers disagree. */
const KEPT = 180
/** Milliseconds that a client waits for Redis at most. */
const PATIENCE = 2000
/** Between attempts to reach it again, milliseconds. */
const pause = (attempt: number): number => Math.min(100 * attempt, 2000)

export class RedisUsageStore implements UsageStore {
  private closing = false
  private window = -1
  /** As Redis last said. */
  private known = new Map<string, ClientUsage>()

  private constructor(private readonly redis: Redis) {}

  /**
   * `url`: such as `redis://:password@host:6379/0`, or `rediss:` for TLS. It may hold a secret: no error
   * says it. Throws `invalid_data`, `limits_unavailable`.
   */
  static async open(url: string, log: FastifyBaseLogger): Promise<RedisUsageStore> {
    if (!/^rediss?:\/\//.test(url) || !URL.canParse(url)) {
      const facts = { path: '--redis-url', reason: 'is not the URL of a Redis' }
      throw new BasinError('invalid_data', facts)
    }
    const redis = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      connectTimeout: PATIENCE,
      commandTimeout: PATIENCE,
      retryStrategy: pause,
    })
    // It also says why each attempt failed; that it is gone is told once, when the connection ends.
    redis.on('error', (error: Error) => log.debug({ err: error }, 'limits: Redis'))
    try {
      await redis.connect()
    } catch (cause) {
      redis.disconnect()
      throw new BasinError('limits_unavailable', {}, { cause })
    }
    const counts = new RedisUsageStore(redis)
    counts.tell(log)
    return counts
  }

  private tell(log: FastifyBaseLogger): void {
    let reachable = true
    this.redis.on('close', () => {
      if (reachable && !this.closing) log.error('limits: Redis cannot be reached')
      reachable = false
    })
    this.redis.on('ready', () => {
      if (!reachable) log.info('limits: Redis is there again')
      reachable = true
    })
  }

  async add(window: number, client: string, more: ClientUsage): Promise<ClientUsage> {
    const key = `basin:used:${window}:${client}`
    const command = this.redis.multi()
    for (const kind of usageKinds) command.hincrby(key, kind, more[kind])
    const replies = await command
      .expire(key, KEPT)
      .exec()
      .catch((cause: unknown) => {
        throw new BasinError('limits_unavailable', {}, { cause })
      })
    const use = useOf(replies ?? [])
    if (window >= this.window) {
      this.turnTo(window)
      this.known.set(client, use)
    }
    return use
  }

  seen(window: number, client: string): ClientUsage {
    this.turnTo(window)
    return this.known.get(client) ?? noUsage
  }

  async close(): Promise<void> {
    this.closing = true
    if (this.redis.status === 'ready') await this.redis.quit()
    else this.redis.disconnect()
  }

  private turnTo(window: number): void {
    if (window > this.window) this.known = new Map()
    this.window = Math.max(this.window, window)
  }
}

/** The sums of a transaction, in the order of `kinds`. */
function useOf(replies: readonly (readonly [Error | null, unknown])[]): ClientUsage {
  const sums = usageKinds.map((_, i): number => {
    const [cause, sum] = replies[i] ?? [null, undefined]
    if (typeof sum === 'number') return sum
    throw new BasinError('limits_unavailable', {}, { cause })
  })
  const [requests = 0, tokens = 0, steps = 0] = sums
  return { requests, tokens, steps }
}

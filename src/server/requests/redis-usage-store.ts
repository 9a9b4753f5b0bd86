/**
 * What clients have used, in a Redis that several servers share: a hash for each client and window, which
 * Redis deletes by itself. It takes one round trip for each request. While Redis cannot be reached every
 * request is refused, since clients could otherwise pass their limits by making it unreachable.
 */
import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'
import { BasinError } from '../../errors.js'
import { type ClientUsage, noUsage, usageKinds, type UsageStore } from './usage-store.js'

/** For which Redis keeps a window: longer than the clocks of servers disagree. */
const KEPT_S = 180
/** That a client waits for Redis at most. */
const REDIS_TIMEOUT_MS = 2000
/** Between attempts to reach it again, milliseconds. */
const retryDelay = (attempt: number): number => Math.min(100 * attempt, 2000)

export class RedisUsageStore implements UsageStore {
  private closing = false
  private window = -1
  /** What Redis last answered, of the latest window. */
  private latest = new Map<string, ClientUsage>()

  private constructor(private readonly redis: Redis) {}

  /**
   * `url`: such as `redis://:password@host:6379/0`, or `rediss:` for TLS. It may hold a password, so no
   * error repeats it. Throws `invalid_data`, `limits_unavailable`.
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
      connectTimeout: REDIS_TIMEOUT_MS,
      commandTimeout: REDIS_TIMEOUT_MS,
      retryStrategy: retryDelay,
    })
    // Every failed attempt raises one of these; the loss itself is logged once, when the connection ends.
    redis.on('error', (error: Error) => log.debug({ err: error }, 'limits: Redis'))
    try {
      await redis.connect()
    } catch (cause) {
      redis.disconnect()
      throw new BasinError('limits_unavailable', {}, { cause })
    }
    const store = new RedisUsageStore(redis)
    store.logReachability(log)
    return store
  }

  private logReachability(log: FastifyBaseLogger): void {
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
      .expire(key, KEPT_S)
      .exec()
      .catch((cause: unknown) => {
        throw new BasinError('limits_unavailable', {}, { cause })
      })
    const usage = usageIn(replies ?? [])
    if (window >= this.window) {
      this.turnTo(window)
      this.latest.set(client, usage)
    }
    return usage
  }

  known(window: number, client: string): ClientUsage {
    this.turnTo(window)
    return this.latest.get(client) ?? noUsage
  }

  async close(): Promise<void> {
    this.closing = true
    if (this.redis.status === 'ready') await this.redis.quit()
    else this.redis.disconnect()
  }

  private turnTo(window: number): void {
    if (window > this.window) this.latest = new Map()
    this.window = Math.max(this.window, window)
  }
}

/** From the replies of a transaction: its sums come in the order of `usageKinds`. */
function usageIn(replies: readonly (readonly [Error | null, unknown])[]): ClientUsage {
  const sums = usageKinds.map((_, i): number => {
    const [cause, sum] = replies[i] ?? [null, undefined]
    if (typeof sum === 'number') return sum
    throw new BasinError('limits_unavailable', {}, { cause })
  })
  const [requests = 0, tokens = 0, steps = 0] = sums
  return { requests, tokens, steps }
}

/**
 * What clients have used, in a Redis that several servers share: a hash for each client and window, which
 * Redis deletes by itself. It takes one round trip for each request. While Redis cannot be reached every
 * request is refused, since clients could otherwise pass their limits by making it unreachable.
 */
import type { FastifyBaseLogger } from 'fastify'
import { BasinError } from '../../errors.js'
import { RedisLink } from '../../jobs/redis-link.js'
import { type ClientUsage, noUsage, usageKinds, type UsageStore } from './usage-store.js'

/** For which Redis keeps a window: longer than the clocks of servers disagree. */
const KEPT_S = 180

export class RedisUsageStore implements UsageStore {
  private window = -1
  /** What Redis last answered, of the latest window. */
  private latest = new Map<string, ClientUsage>()

  private constructor(private readonly link: RedisLink) {}

  /** `url`: see `RedisLink.open`. Throws `invalid_data`, `limits_unavailable`. */
  static async open(url: string, log: FastifyBaseLogger): Promise<RedisUsageStore> {
    const unreachable = new BasinError('limits_unavailable')
    return new RedisUsageStore(await RedisLink.open(url, 'limits', unreachable, log))
  }

  async add(window: number, client: string, more: ClientUsage): Promise<ClientUsage> {
    const key = `basin:used:${window}:${client}`
    const command = this.link.redis.multi()
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

  close(): Promise<void> {
    return this.link.close()
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

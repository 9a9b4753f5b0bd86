/**
 * Replies by names that clients give them, shared by several servers: who has a name first computes the reply, and
 * whoever comes later gets it. A name whose server is lost is free again when its claim runs out.
 */
import { createHash, randomUUID } from 'node:crypto'
import { BasinError } from '../../errors.js'
import type { RedisLink } from '../redis-link.js'
import type { Claim, SharedReplies } from '../shared-jobs.js'

interface Value {
  /** Of the request. */
  hash: string
  /** Whose it is while there is no reply. */
  by: string
  reply?: string
}

/** KEYS: name. ARGV: what it must hold, what it holds then ('' for nothing), milliseconds. */
const REPLACE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
`

const keyOf = (name: string): string =>
  `basin:reply:${createHash('sha256').update(name).digest('hex')}`

export class RedisReplies implements SharedReplies {
  private readonly renewals = new Map<string, NodeJS.Timeout>()

  /** `leaseSeconds`: after which a name is free again whose server does not answer. */
  constructor(
    private readonly link: RedisLink,
    private readonly leaseSeconds: number,
  ) {}

  async claim(name: string, hash: string): Promise<Claim> {
    const key = keyOf(name)
    const value = JSON.stringify({ hash, by: randomUUID() } satisfies Value)
    const lease = this.leaseSeconds * 1000
    const before = await this.ask(() => this.link.redis.set(key, value, 'PX', lease, 'NX', 'GET'))
    if (before !== null) {
      const { hash: first, reply } = JSON.parse(before) as Value
      return { state: reply === undefined ? 'running' : 'kept', hash: first, reply: reply ?? '' }
    }
    const renewal = setInterval(() => {
      // If it fails, the claim runs out, as that of a server which is lost.
      this.replace(key, value, value, lease).catch(() => undefined)
    }, lease / 3).unref()
    this.renewals.set(value, renewal)
    return { state: 'mine', claim: value }
  }

  keep(name: string, claim: string, reply: string, milliseconds: number): Promise<void> {
    const { by, hash } = JSON.parse(claim) as Value
    const value = JSON.stringify({ hash, by, reply } satisfies Value)
    return this.end(name, claim, value, milliseconds)
  }

  forget(name: string, claim: string): Promise<void> {
    return this.end(name, claim, '', 0)
  }

  private async end(
    name: string,
    claim: string,
    value: string,
    milliseconds: number,
  ): Promise<void> {
    clearInterval(this.renewals.get(claim))
    this.renewals.delete(claim)
    await this.replace(keyOf(name), claim, value, milliseconds)
  }

  private async replace(
    key: string,
    from: string,
    to: string,
    milliseconds: number,
  ): Promise<void> {
    await this.ask(() => this.link.redis.eval(REPLACE, 1, key, from, to, milliseconds))
  }

  /** Rejects with `idempotency_unavailable` where Redis does not answer. */
  private async ask<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command()
    } catch (cause) {
      throw new BasinError('idempotency_unavailable', { param: 'idempotency-key' }, { cause })
    }
  }
}

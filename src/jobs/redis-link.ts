/** A connection to a Redis that several servers share. What cannot be sent at once fails at once. */
import { Redis } from 'ioredis'
import { BasinError } from '../errors.js'

/** How long a client waits for Redis at most. */
const REDIS_TIMEOUT_MS = 2000
/** Between attempts to reach it again, milliseconds. */
const retryDelay = (attempt: number): number => Math.min(100 * attempt, 2000)

/** What is told of a connection: lines, and details of those that help only in a search for a fault. */
export interface LinkLog {
  debug: (details: object, line: string) => void
  info: (line: string) => void
  error: (line: string) => void
}

export class RedisLink {
  private closing = false

  private constructor(
    readonly redis: Redis,
    /** Begins the lines of its log. */
    private readonly purpose: string,
    private readonly log: LinkLog,
    /** Another connection, on which commands wait until Redis can be reached. */
    readonly waiting: () => Redis,
  ) {}

  /**
   * `url`: such as `redis://:password@host:6379/0`, or `rediss:` for TLS. It may hold a password, so no
   * error repeats it. Throws `invalid_data`, and `unreachable` where it cannot be reached.
   */
  static async open(
    url: string,
    purpose: string,
    unreachable: BasinError,
    log: LinkLog,
  ): Promise<RedisLink> {
    if (!/^rediss?:\/\//.test(url) || !URL.canParse(url)) {
      const facts = { path: '--redis-url', reason: 'is not the URL of a Redis' }
      throw new BasinError('invalid_data', facts)
    }
    const quiet = (redis: Redis): Redis =>
      // Every failed attempt raises an error; the loss itself is logged once, when the connection ends.
      redis.on('error', (error: Error) => {
        log.debug({ err: error }, `${purpose}: Redis`)
      })
    const every = { connectTimeout: REDIS_TIMEOUT_MS, retryStrategy: retryDelay }
    const redis = quiet(
      new Redis(url, {
        ...every,
        lazyConnect: true,
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        commandTimeout: REDIS_TIMEOUT_MS,
      }),
    )
    const waiting = () => quiet(new Redis(url, { ...every, maxRetriesPerRequest: null }))
    const link = new RedisLink(redis, purpose, log, waiting)
    try {
      await redis.connect()
    } catch (cause) {
      redis.disconnect()
      throw new BasinError(unreachable.code, unreachable.facts, { cause })
    }
    link.logReachability()
    return link
  }

  get ready(): boolean {
    return this.redis.status === 'ready'
  }

  async close(): Promise<void> {
    this.closing = true
    if (this.ready) await this.redis.quit()
    else this.redis.disconnect()
  }

  private logReachability(): void {
    let reachable = true
    this.redis.on('close', () => {
      if (reachable && !this.closing) this.log.error(`${this.purpose}: Redis cannot be reached`)
      reachable = false
    })
    this.redis.on('ready', () => {
      if (!reachable) this.log.info(`${this.purpose}: Redis is there again`)
      reachable = true
    })
  }
}

/**
 * What one client may use: requests, tokens and descent steps per minute, and candidates at once. Windows are
 * the minutes of this process's clock; a `UsageStore` holds what was used in them.
 */
import { BasinError } from '../../errors.js'
import type { RequestEvent } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import { type ClientUsage, MemoryUsageStore, usageKinds, type UsageStore } from './usage-store.js'

/** Per client and minute; absent: no limit. */
export type Rates = Partial<ClientUsage> & {
  readonly /** Candidates at once. */ concurrent?: number
}

const WINDOW_MS = 60_000

export class Quotas {
  /** Whether anything is limited by the minute; otherwise nothing is counted. */
  private readonly counting: boolean

  constructor(
    readonly rates: Rates,
    private readonly store: UsageStore = new MemoryUsageStore(),
    /** Milliseconds of Unix time. */
    private readonly now: () => number = Date.now,
  ) {
    this.counting = usageKinds.some((kind) => rates[kind] !== undefined)
  }

  /** Counts one request. Throws `rate_limited`, and what the store throws. */
  async enter(client: string): Promise<void> {
    if (!this.counting) return
    const used = await this.store.add(this.window, client, { requests: 1, tokens: 0, steps: 0 })
    const exceeded = usageKinds.find((kind) => {
      // The count of requests includes this one, which has used no token and no step yet.
      const before = kind === 'requests' ? used.requests - 1 : used[kind]
      return before >= (this.rates[kind] ?? Infinity)
    })
    if (exceeded === undefined) return
    const limit = `${this.rates[exceeded] ?? 0} ${exceeded} per minute`
    throw new BasinError('rate_limited', { limit, retry_after: this.secondsLeft })
  }

  /**
   * Throws `rate_limited` where a client with `running` candidates may not have `more`, and `out_of_range`
   * where it may never have so many.
   */
  checkConcurrent(running: number, more: number): void {
    const { concurrent } = this.rates
    if (concurrent === undefined || running + more <= concurrent) return
    if (more > concurrent) {
      throw new BasinError('out_of_range', {
        param: 'refinement.candidates',
        bound: `such that choices x candidates are at most ${concurrent}`,
        value: more,
      })
    }
    throw new BasinError('rate_limited', {
      limit: `${concurrent} candidates at once`,
      retry_after: 1,
    })
  }

  /**
   * Counts tokens and steps when they are there, so what runs may pass a limit: only new requests are
   * refused.
   */
  count(client: string, event: RequestEvent): void {
    if (!this.counting) return
    if (event.type === 'started') this.add(client, event.promptTokens, 0)
    for (const { steps, tokens } of settledAnswers(event)) this.add(client, tokens, steps)
  }

  /** Headers of a reply under OpenAI's names, and `steps` in the same manner. */
  headers(client: string): Record<string, string> {
    if (!this.counting) return {}
    const used = this.store.known(this.window, client)
    const headers: Record<string, string> = {}
    for (const kind of usageKinds) {
      const limit = this.rates[kind]
      if (limit === undefined) continue
      headers[`x-ratelimit-limit-${kind}`] = String(limit)
      headers[`x-ratelimit-remaining-${kind}`] = String(Math.max(0, limit - used[kind]))
      headers[`x-ratelimit-reset-${kind}`] = `${this.secondsLeft}s`
    }
    return headers
  }

  private add(client: string, tokens: number, steps: number): void {
    const counted = this.store.add(this.window, client, { requests: 0, tokens, steps })
    // A store that cannot be reached logs it, and refuses new requests until it is back.
    counted.catch(() => undefined)
  }

  private get window(): number {
    return Math.floor(this.now() / WINDOW_MS)
  }

  /** Until the window ends. */
  private get secondsLeft(): number {
    return Math.ceil((WINDOW_MS - (this.now() % WINDOW_MS)) / 1000)
  }
}

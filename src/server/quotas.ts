/**
 * What one client may use: requests, tokens and descent steps per minute, and choices at once. Fixed
 * windows of a minute on the clock of this process; what was used of them is remembered by `Counts`.
 */
import { BasinError } from '../errors.js'
import type { RequestEvent } from '../generation/protocol.js'
import { settledAnswers } from '../generation/settled-answers.js'
import { type Counts, kinds, MemoryCounts, type Use } from './counts.js'

/** Per client and minute; absent: no limit. */
export type Rates = Partial<Use> & { readonly /** Choices at once. */ concurrent?: number }

const WINDOW = 60_000

export class Quotas {
  /** Something is limited by the minute; else nothing is counted. */
  private readonly counting: boolean

  constructor(
    readonly rates: Rates,
    private readonly counts: Counts = new MemoryCounts(),
    /** Milliseconds. */
    private readonly now: () => number = Date.now,
  ) {
    this.counting = kinds.some((kind) => rates[kind] !== undefined)
  }

  /** Counts one request. Throws `rate_limited`, and what its counts throw. */
  async enter(client: string): Promise<void> {
    if (!this.counting) return
    const use = await this.counts.add(this.window, client, { requests: 1, tokens: 0, steps: 0 })
    const spent = kinds.find((kind) => {
      // This request is among those counted; of the others it has used nothing yet.
      const before = kind === 'requests' ? use.requests - 1 : use[kind]
      return before >= (this.rates[kind] ?? Infinity)
    })
    if (spent === undefined) return
    const limit = `${this.rates[spent] ?? 0} ${spent} per minute`
    throw new BasinError('rate_limited', { limit, retry_after: this.seconds })
  }

  /** Throws `rate_limited` where a client of which `running` choices run may not have `more`. */
  crowd(running: number, more: number): void {
    const { concurrent } = this.rates
    if (concurrent === undefined || running + more <= concurrent) return
    throw new BasinError('rate_limited', { limit: `${concurrent} choices at once`, retry_after: 1 })
  }

  /** Tokens and steps count when they are there: a limit may be passed by what runs already. */
  take(client: string, event: RequestEvent): void {
    if (!this.counting) return
    if (event.type === 'started') this.note(client, event.promptTokens, 0)
    for (const { steps, tokens } of settledAnswers(event)) this.note(client, tokens, steps)
  }

  /** What replies tell their client, under OpenAI's names; `steps` in the same manner. */
  headers(client: string): Record<string, string> {
    if (!this.counting) return {}
    const use = this.counts.seen(this.window, client)
    const told = kinds.flatMap((kind) => {
      const limit = this.rates[kind]
      if (limit === undefined) return []
      return [
        [`x-ratelimit-limit-${kind}`, String(limit)],
        [`x-ratelimit-remaining-${kind}`, String(Math.max(0, limit - use[kind]))],
        [`x-ratelimit-reset-${kind}`, `${this.seconds}s`],
      ]
    })
    return Object.fromEntries(told) as Record<string, string>
  }

  close(): Promise<void> {
    return this.counts.close()
  }

  private note(client: string, tokens: number, steps: number): void {
    const counted = this.counts.add(this.window, client, { requests: 0, tokens, steps })
    // Counts that cannot be reached say so in the log, and let nobody in meanwhile.
    counted.catch(() => undefined)
  }

  private get window(): number {
    return Math.floor(this.now() / WINDOW)
  }

  /** Until the window ends. */
  private get seconds(): number {
    return Math.ceil((WINDOW - (this.now() % WINDOW)) / 1000)
  }
}

/**
 * What one client may use: requests, tokens and descent steps per minute, and choices at once. Fixed
 * windows of a minute, in the memory of this process: several servers do not share them.
 */
import { BasinError } from '../errors.js'
import type { JobEvent } from '../generation/protocol.js'

const kinds = ['requests', 'tokens', 'steps'] as const
type Kind = (typeof kinds)[number]
type Use = Record<Kind, number>

/** Per client and minute; absent: no limit. */
export type Rates = Readonly<Partial<Use> & { /** Choices at once. */ concurrent?: number }>

const WINDOW = 60_000

export class Quotas {
  private window = -1
  private used = new Map<string, Use>()

  constructor(
    readonly rates: Rates,
    /** Milliseconds. */
    private readonly now: () => number = Date.now,
  ) {}

  /** Counts one request that asks for `more` choices while `running` run. Throws `rate_limited`. */
  enter(client: string, running: number, more: number): void {
    const { concurrent } = this.rates
    if (concurrent !== undefined && running + more > concurrent) {
      const facts = { limit: `${concurrent} choices at once`, retry_after: 1 }
      throw new BasinError('rate_limited', facts)
    }
    const use = this.useOf(client)
    const spent = kinds.find((kind) => use[kind] >= (this.rates[kind] ?? Infinity))
    if (spent === undefined) {
      use.requests++
      return
    }
    const limit = `${this.rates[spent] ?? 0} ${spent} per minute`
    throw new BasinError('rate_limited', { limit, retry_after: this.seconds })
  }

  /** Tokens and steps count when they are there: a limit may be passed by what runs already. */
  take(client: string, event: JobEvent): void {
    if (event.type === 'started') this.useOf(client).tokens += event.promptTokens
    if (event.type !== 'committed') return
    const use = this.useOf(client)
    use.tokens += event.tokens
    use.steps += event.steps
  }

  /** What replies tell their client, under OpenAI's names; `steps` in the same manner. */
  headers(client: string): Record<string, string> {
    const use = this.useOf(client)
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

  /** Until the window ends. */
  private get seconds(): number {
    return Math.ceil((WINDOW - (this.now() % WINDOW)) / 1000)
  }

  private useOf(client: string): Use {
    const window = Math.floor(this.now() / WINDOW)
    if (window !== this.window) this.used = new Map()
    this.window = window
    const use = this.used.get(client) ?? { requests: 0, tokens: 0, steps: 0 }
    this.used.set(client, use)
    return use
  }
}

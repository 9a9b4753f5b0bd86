/** How much of something clients have used in a window of time: who remembers it, and who shares it. */

export const kinds = ['requests', 'tokens', 'steps'] as const
export type Kind = (typeof kinds)[number]
export type Use = Readonly<Record<Kind, number>>

export const nothing: Use = Object.freeze({ requests: 0, tokens: 0, steps: 0 })

export interface Counts {
  /** Adds what `client` uses in the window of this number. Resolves with what it has used of it by then. */
  add(window: number, client: string, more: Use): Promise<Use>
  /** What it has used, as far as this process knows without asking anybody. */
  seen(window: number, client: string): Use
  close(): Promise<void>
}

const sum = (a: Use, b: Use): Use => ({
  requests: a.requests + b.requests,
  tokens: a.tokens + b.tokens,
  steps: a.steps + b.steps,
})

/** In the memory of this process: several servers do not share it. Windows that are over are forgotten. */
export class MemoryCounts implements Counts {
  private window = -1
  private used = new Map<string, Use>()

  add(window: number, client: string, more: Use): Promise<Use> {
    const use = sum(this.seen(window, client), more)
    this.used.set(client, use)
    return Promise.resolve(use)
  }

  seen(window: number, client: string): Use {
    if (window !== this.window) this.used = new Map()
    this.window = window
    return this.used.get(client) ?? nothing
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** How much of something clients have used in a window of time: who remembers it, and who shares it. */

export const usageKinds = ['requests', 'tokens', 'steps'] as const
export type UsageKind = (typeof usageKinds)[number]
export type ClientUsage = Readonly<Record<UsageKind, number>>

export const noUsage: ClientUsage = Object.freeze({ requests: 0, tokens: 0, steps: 0 })

export interface UsageStore {
  /** Adds what `client` uses in the window of this number. Resolves with what it has used of it by then. */
  add(window: number, client: string, more: ClientUsage): Promise<ClientUsage>
  /** What it has used, as far as this process knows without asking anybody. */
  seen(window: number, client: string): ClientUsage
  close(): Promise<void>
}

const sum = (a: ClientUsage, b: ClientUsage): ClientUsage => ({
  requests: a.requests + b.requests,
  tokens: a.tokens + b.tokens,
  steps: a.steps + b.steps,
})

/** In the memory of this process: several servers do not share it. Windows that are over are forgotten. */
export class MemoryUsageStore implements UsageStore {
  private window = -1
  private used = new Map<string, ClientUsage>()

  add(window: number, client: string, more: ClientUsage): Promise<ClientUsage> {
    const use = sum(this.seen(window, client), more)
    this.used.set(client, use)
    return Promise.resolve(use)
  }

  seen(window: number, client: string): ClientUsage {
    if (window !== this.window) this.used = new Map()
    this.window = window
    return this.used.get(client) ?? noUsage
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** What clients have used in a window of time: the interface of its stores, and the one in memory. */

export const usageKinds = ['requests', 'tokens', 'steps'] as const
export type UsageKind = (typeof usageKinds)[number]
export type ClientUsage = Readonly<Record<UsageKind, number>>

export const noUsage: ClientUsage = Object.freeze({ requests: 0, tokens: 0, steps: 0 })

export interface UsageStore {
  /** Adds what `client` uses in the window of this number. Resolves with its sum in that window. */
  add(window: number, client: string, more: ClientUsage): Promise<ClientUsage>
  /** The sum as far as this process knows it without asking another. */
  known(window: number, client: string): ClientUsage
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
    const usage = sum(this.known(window, client), more)
    this.used.set(client, usage)
    return Promise.resolve(usage)
  }

  known(window: number, client: string): ClientUsage {
    if (window !== this.window) this.used = new Map()
    this.window = window
    return this.used.get(client) ?? noUsage
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

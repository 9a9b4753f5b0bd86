/**
 * Running requests by the ids that their clients know. The owner of one may end its answers early or let
 * them descend longer. Knows no transport.
 */
import type { Extra } from '../../refine/stop.js'
import type { Steer } from '../../generation/protocol.js'
import { notRunning } from '../../jobs/shared-jobs.js'

/** A request whose course its client may change. */
export interface Steerable {
  readonly ended: boolean
  /** Throws as `RequestStream.control` does. */
  steer(control: Steer): void
  /** Throws as an extension by `extra` would, and changes nothing. */
  checkExtension(extra: Extra): void
}

interface Entry {
  owner: string
  requests: readonly Steerable[]
  changed: () => Promise<void>
}

/**
 * Steers a request that runs in another process. Returns how many choices it has; throws `not_found` where there
 * is none.
 */
export type SteerElsewhere = (id: string, owner: string, control: Steer) => Promise<number>

export class RunningRequests {
  private readonly byId = new Map<string, Entry>()

  /** `elsewhere`: absent where all requests run in this process. */
  constructor(private readonly elsewhere?: SteerElsewhere) {}

  has(id: string): boolean {
    return this.byId.has(id)
  }

  /**
   * Until what it returns is called, `owner` and nobody else finds these requests. `changed`: called when
   * their course was changed, and waited for before the client is answered.
   */
  enter(
    id: string,
    owner: string,
    requests: readonly Steerable[],
    changed: () => Promise<void> = () => Promise.resolve(),
  ): () => void {
    this.byId.set(id, { owner, requests, changed })
    return () => this.byId.delete(id)
  }

  /** Lets each of them settle with its best answer so far. Returns their count; throws `not_found`. */
  finish(id: string, owner: string): Promise<number> {
    return this.steer(id, owner, { type: 'finish' })
  }

  /** Extends the present answer of each of them, or of none. Throws `not_found`, `out_of_range`. */
  extend(id: string, owner: string, extra: Extra): Promise<number> {
    return this.steer(id, owner, { type: 'extend', ...extra })
  }

  /** For requests of this process alone. */
  async steerHere(id: string, owner: string, control: Steer): Promise<number> {
    const entry = this.byId.get(id)
    const running = entry?.owner === owner ? entry.requests.filter(({ ended }) => !ended) : []
    if (!entry || running.length === 0) throw notRunning(id)
    if (control.type === 'extend') for (const request of running) request.checkExtension(control)
    for (const request of running) request.steer(control)
    await entry.changed()
    return running.length
  }

  private steer(id: string, owner: string, control: Steer): Promise<number> {
    if (this.elsewhere && !this.byId.has(id)) return this.elsewhere(id, owner, control)
    return this.steerHere(id, owner, control)
  }
}

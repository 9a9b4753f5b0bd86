/**
 * Running requests by the ids that their clients know. The owner of one may end its answers early or let
 * them descend longer. Knows no transport.
 */
import { BasinError } from '../../errors.js'
import type { Extra } from '../../refine/stop.js'
import type { Steer } from '../../generation/protocol.js'

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

export class RunningRequests {
  private readonly byId = new Map<string, Entry>()

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
  async finish(id: string, owner: string): Promise<number> {
    const { changed, running } = this.find(id, owner)
    for (const request of running) request.steer({ type: 'finish' })
    await changed()
    return running.length
  }

  /** Extends the present answer of each of them, or of none. Throws `not_found`, `out_of_range`. */
  async extend(id: string, owner: string, extra: Extra): Promise<number> {
    const { changed, running } = this.find(id, owner)
    for (const request of running) request.checkExtension(extra)
    for (const request of running) request.steer({ type: 'extend', ...extra })
    await changed()
    return running.length
  }

  /** Those that have not ended, at least one. */
  private find(id: string, owner: string) {
    const entry = this.byId.get(id)
    const running = entry?.owner === owner ? entry.requests.filter(({ ended }) => !ended) : []
    if (entry && running.length > 0) return { changed: entry.changed, running }
    throw new BasinError('not_found', { param: 'id', what: `A running request ${id}` })
  }
}

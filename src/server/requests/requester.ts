/** Who asks, and which model: what a service needs to know of an HTTP request besides its body. */
import type { EngineClient } from '../../generation/client/engine-client.js'

/** Plugins find these out, and every FastifyRequest has them. */
export interface Requester {
  /** The name of the key, or the address where the server has no keys. */
  readonly client: string
  /** Whoever else has the same value may see and steer what this client runs. */
  readonly owner: string
  /** The model that answers, in memory until the reply is out. */
  readonly engine: EngineClient
  /** Aborted when the client leaves before it has the whole reply. */
  readonly disconnected: AbortSignal
}

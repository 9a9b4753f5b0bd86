/** What a service needs to know of an HTTP request besides its body: its client and its model. */
import type { EngineClient } from '../../generation/client/engine-client.js'

/** Every FastifyRequest has these fields: plugins set them. */
export interface Requester {
  /** The name of the key, or the address where the server has no keys. */
  readonly client: string
  /** Clients with the same value may see and steer each other's requests. */
  readonly owner: string
  /** The model that answers, in memory until the reply is out. */
  readonly engine: EngineClient
  /** Aborted when the client leaves before it has the whole reply. */
  readonly disconnected: AbortSignal
}

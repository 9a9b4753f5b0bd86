/** Whoever keeps count of a request by its events: metrics, traces, quotas. */
import type { RequestEvent } from '../../generation/protocol.js'

export interface RequestObserver {
  /** Called with every event of a request once, in their order, when its consumer takes it. */
  observe(event: RequestEvent): void
}

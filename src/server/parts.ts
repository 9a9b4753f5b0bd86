/** What routes are built from. */
import type { Admission } from './admission.js'
import type { Limits } from './limits.js'
import type { Metrics } from './metrics/metrics.js'
import type { Quotas } from './quotas.js'
import type { Responses } from './responses/responses.js'
import type { ServedModels } from './served.js'
import type { Steering } from './steering.js'
import type { Traces } from './tracing.js'

export interface Parts {
  admission: Admission
  quotas: Quotas
  models: ServedModels
  limits: Limits
  metrics: Metrics
  steering: Steering
  traces: Traces
  responses: Responses
  /** Whose work of this client is: its key's; everybody's, where there are no keys. */
  owner: (client: string) => string
  /** Of this software. */
  version: string
  /** Going down: answers under way are finished, new ones refused. */
  draining: () => boolean
}

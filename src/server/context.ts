/** What routes are built from. */
import type { Admission } from './requests/request-service.js'
import type { Limits } from './limits.js'
import type { Metrics } from './metrics/metrics.js'
import type { Quotas } from './requests/quotas.js'
import type { StoredResponses } from './openai/responses/stored-responses.js'
import type { ModelRegistry } from './models/model-registry.js'
import type { RunningRequests } from './requests/running-requests.js'
import type { Traces } from './plugins/tracing.js'

export interface AppContext {
  admission: Admission
  quotas: Quotas
  models: ModelRegistry
  limits: Limits
  metrics: Metrics
  steering: RunningRequests
  traces: Traces
  responses: StoredResponses
  /** Whose work of this client is: its key's; everybody's, where there are no keys. */
  owner: (client: string) => string
  /** Of this software. */
  version: string
  /** Going down: answers under way are finished, new ones refused. */
  draining: () => boolean
}

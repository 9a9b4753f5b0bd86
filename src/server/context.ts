/** What routes are built from: the type of app that they are added to, and what they share. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { OpenSockets } from './basin/open-sockets.js'
import type { SharedJobs } from '../jobs/shared-jobs.js'
import type { FailureLog } from './failure-log.js'
import type { Limits } from './limits.js'
import type { Metrics } from './metrics/metrics.js'
import type { ModelRegistry } from './models/model-registry.js'
import type { StoredResponses } from './openai/responses/stored-responses.js'
import type { RequestService } from './requests/request-service.js'
import type { RunningRequests } from './requests/running-requests.js'

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

export interface AppContext {
  requests: RequestService
  running: RunningRequests
  responses: StoredResponses
  models: ModelRegistry
  sockets: OpenSockets
  failures: FailureLog
  limits: Limits
  metrics: Metrics
  /** The servers that run what is in the background; undefined: this one alone does. */
  shared: SharedJobs | undefined
  /** Of this software. */
  version: string
  /** True while the server goes down: it finishes the answers that run and refuses new ones. */
  draining: () => boolean
}

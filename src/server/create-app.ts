/**
 * What every port of this server has in common: how a request is read, checked, counted, and refused.
 * Knows no route.
 */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { ApiKeys } from './api-keys.js'
import type { App, AppContext } from './context.js'
import { installErrorBoundary, refuseConnection } from './error-boundary.js'
import { HttpRequest } from './http-request.js'
import { auth } from './plugins/auth.js'
import { jsonBody } from './plugins/json-body.js'
import { originPolicy, type OriginPolicy } from './plugins/origin-policy.js'
import { rateLimit } from './plugins/rate-limit.js'
import { requestLog } from './plugins/request-log.js'
import { tracing } from './plugins/tracing.js'
import { trackReply } from './pending-replies.js'
import { serializerOf } from './reply-serializers.js'
import type { Quotas } from './requests/quotas.js'
import type { Traces } from './requests/request-trace.js'

/** Between two looks for requests that have not arrived in time. */
const TIMEOUT_CHECK_MS = 1000

export async function createApp(
  context: Pick<AppContext, 'failures' | 'limits' | 'metrics'>,
  logger: FastifyBaseLogger,
): Promise<App> {
  const { limits } = context
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestSeconds * 1000,
    http: {
      IncomingMessage: HttpRequest,
      headersTimeout: limits.requestSeconds * 1000,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    forceCloseConnections: 'idle',
    genReqId: () => `req_${randomUUID()}`,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, request, reply) => {
      app.errorHandler(error, request, reply)
    },
  }).withTypeProvider<TypeBoxTypeProvider>()

  await prepareScope(app, context)
  return app
}

/** How requests are read and checked below an app, and how their failures are answered. */
export async function prepareScope(
  app: App,
  { failures, limits, metrics }: Pick<AppContext, 'failures' | 'limits' | 'metrics'>,
): Promise<void> {
  app.addHook('onRequest', (request, { raw }, next) => {
    trackReply(request.raw.socket, raw)
    next()
  })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.setSerializerCompiler(serializerOf)
  installErrorBoundary(app, limits.bodyBytes, failures, (route, code) => {
    metrics.instruments.errors.inc({ route, code })
  })
  await app.register(jsonBody, { nesting: limits.nesting, limit: limits.bodyBytes })
  await app.register(requestLog, { metrics })
}

export interface Guards {
  /** Undefined: everybody who reaches the server may use it. */
  keys: ApiKeys | undefined
  origins: OriginPolicy
  /** Undefined where nothing is limited. */
  quotas: Quotas | undefined
  /** Undefined where nothing is traced. */
  traces: Traces | undefined
}

/** To be called after the plugin for sockets: its hook comes first, and closes a connection that these refuse. */
export async function guardApp(app: App, { keys, origins, quotas, traces }: Guards): Promise<void> {
  if (traces) await app.register(tracing, { traces })
  await app.register(originPolicy, { policy: origins, keyed: keys !== undefined })
  await app.register(auth, { keys })
  if (quotas) await app.register(rateLimit, { quotas })
}

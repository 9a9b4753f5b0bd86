/**
 * Builds the server from what it is given: models to answer with, limits, a logger. Opens no file,
 * listens on no port and owns no signal.
 */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import websocket from '@fastify/websocket'
import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { BasinError } from '../errors.js'
import type { Generation } from '../generation/client.js'
import type { JobStore } from '../jobs/store.js'
import { Admission } from './admission.js'
import { installErrorBoundary, refuseConnection } from './error-boundary.js'
import { rememberReplies } from './idempotency.js'
import type { Keys } from './keys.js'
import type { Limits } from './limits.js'
import { Metrics } from './metrics/metrics.js'
import type { App, Parts } from './parts.js'
import { Quotas } from './quotas.js'
import { Responses } from './responses/responses.js'
import { chatRoutes } from './routes/chat.js'
import { completionRoutes } from './routes/completions.js'
import { embeddingRoutes } from './routes/embeddings.js'
import { healthRoutes } from './routes/health.js'
import { landscapeRoutes } from './routes/landscape.js'
import { metricsRoutes } from './routes/metrics.js'
import { modelRoutes } from './routes/models.js'
import { refineRoutes } from './routes/refine.js'
import { responseRoutes } from './routes/responses.js'
import { scoreRoutes } from './routes/score.js'
import { steeringRoutes } from './routes/steering.js'
import { tokenizeRoutes } from './routes/tokenize.js'
import { ServedModels } from './served.js'
import { Steering } from './steering.js'

export interface AppOptions {
  models: ReadonlyMap<string, Generation>
  /** Answers requests that name no model. */
  defaultModel: string
  limits: Limits
  logger: FastifyBaseLogger
  version: string
  /** Without any, whoever reaches the server may ask. */
  keys?: Keys
  /** Where responses are kept. Closed with the app. */
  store: JobStore
  /** Going down: answers under way are finished, new ones refused. */
  draining?: () => boolean
}

export async function buildApp(options: AppOptions): Promise<App> {
  const { limits, logger, models, store, version } = options
  const served = new ServedModels(models, options.defaultModel)
  const metrics = new Metrics(models, version)
  const quotas = new Quotas(limits.rates)
  const admission = new Admission(served, limits, quotas, metrics)
  const steering = new Steering()
  const parts: Parts = {
    models: served,
    limits,
    metrics,
    quotas,
    admission,
    steering,
    responses: new Responses({ admission, limits, models: served, steering, store, log: logger }),
    owner: (client) => (options.keys ? client : ''),
    version,
    draining: options.draining ?? (() => false),
  }
  for (const [model, generation] of models) logFate(logger, model, generation)
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestSeconds * 1000,
    forceCloseConnections: 'idle',
    genReqId: () => `req_${randomUUID()}`,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, request, reply) => {
      app.errorHandler(error, request, reply)
    },
  }).withTypeProvider<TypeBoxTypeProvider>()

  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  installErrorBoundary(app, limits.bodyBytes, (route, code) => {
    parts.metrics.to.errors.inc({ route, code })
  })
  readBodies(app)
  keepAccounts(app, parts.metrics)
  await openSockets(app, limits.frameBytes)
  knowClients(app, options.keys)
  tellQuotas(app, quotas)
  rememberReplies(app, parts.owner)
  await document(app, version)
  modelRoutes(app, parts)
  completionRoutes(app, parts)
  chatRoutes(app, parts)
  steeringRoutes(app, parts)
  responseRoutes(app, parts)
  refineRoutes(app, parts)
  scoreRoutes(app, parts)
  embeddingRoutes(app, parts)
  landscapeRoutes(app, parts)
  tokenizeRoutes(app, parts)
  healthRoutes(app, parts)
  metricsRoutes(app, parts)
  app.addHook('onClose', () => parts.responses.close())
  parts.responses.resume()
  return app
}

/** What happened to the workers is for the operator, with its reason. */
function logFate(logger: FastifyBaseLogger, model: string, generation: Generation): void {
  generation.onFate((fate) => {
    if (fate.type === 'restored') logger.warn({ model }, 'a worker was started anew')
    else logger.error({ model, ...fate }, 'a worker is not there')
  })
}

/** JSON in UTF-8, and nothing else: bytes that are not UTF-8 are refused, not replaced. */
function readBodies(app: App): void {
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    // Python's official client says that nothing is JSON where there is nothing to say.
    if (body.length === 0 && !request.routeOptions.schema?.body) {
      done(null, undefined)
      return
    }
    let text: string
    try {
      text = utf8.decode(body as Buffer)
    } catch (cause) {
      const facts = { param: 'body', reason: 'it is not valid UTF-8' }
      done(new BasinError('invalid_request', facts, { cause }))
      return
    }
    void parseJson(request, text, done)
  })
}

/** Each reply leaves its id with the client, a line in the log and a count in the metrics. */
function keepAccounts(app: App, { to }: Metrics): void {
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions } = request
    const route = routeOptions.url ?? 'unknown'
    const status = reply.statusCode
    const seconds = reply.elapsedTime / 1000
    to.httpRequests.inc({ method, route, status })
    to.httpSeconds.observe({ route }, seconds)
    request.log.info({ method, route, status, seconds }, 'answered')
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks: the name of a key, or an address where there are no keys. */
    client: string
  }
}

/** Whoever has no key, where keys are asked for, learns whether the process lives and nothing else. */
const open: readonly (string | undefined)[] = ['/health', '/ready']

/** After the hooks for sockets, which close a connection whose upgrade is refused. */
function knowClients(app: App, keys: Keys | undefined): void {
  app.decorateRequest('client', '')
  app.addHook('onRequest', async (request, reply) => {
    request.client = request.ip
    if (!keys || open.includes(request.routeOptions.url)) return
    void reply.header('www-authenticate', 'Bearer')
    request.client = keys.identify(request.headers)
    void reply.removeHeader('www-authenticate')
  })
}

/** Replies to requests that count say what is left. */
function tellQuotas(app: App, quotas: Quotas): void {
  app.addHook('onSend', async (request, reply) => {
    if (request.method === 'POST') void reply.headers(quotas.headers(request.client))
  })
}

/** Seconds that a peer has to take part in the end of its connection. */
const FAREWELL_SECONDS = 1

/** A socket that fails is closed; at the end of the server all are, with 1001: going away. */
async function openSockets(app: App, frameBytes: number): Promise<void> {
  await app.register(websocket, {
    options: { maxPayload: 4 * frameBytes },
    errorHandler: (error, socket, request) => {
      request.log.info({ err: error }, 'a socket broke')
      socket.close(1011)
    },
    preClose: (done) => {
      const { clients } = app.websocketServer
      for (const client of clients) client.close(1001)
      setTimeout(() => {
        for (const client of clients) client.terminate()
      }, FAREWELL_SECONDS * 1000).unref()
      done()
    },
  })
}

/** The OpenAPI page, from the schemas of the routes; all of it served from here. */
async function document(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Basin',
        description: 'Language models that find their answers by descent on an energy',
        version,
      },
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  app.get('/', { schema: { hide: true } }, (_, reply) => reply.redirect('/docs'))
}

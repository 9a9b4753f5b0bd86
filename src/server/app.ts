/**
 * Builds the server from what it is given: models to answer with, limits, a logger. Opens no file,
 * listens on no port and owns no signal.
 */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import websocket from '@fastify/websocket'
import type { FastifyBaseLogger } from 'fastify'
import type { Generation } from '../generation/client.js'
import type { JobStore } from '../jobs/store.js'
import { Admission } from './admission.js'
import { createApp, type Guards, guardApp } from './base.js'
import type { Counts } from './counts.js'
import { rememberReplies } from './idempotency.js'
import type { Limits } from './limits.js'
import { Metrics } from './metrics/metrics.js'
import type { App } from './application.js'
import type { Parts } from './parts.js'
import { Quotas } from './quotas.js'
import { Responses } from './responses/responses.js'
import { adminRoutes } from './routes/admin.js'
import { chatRoutes } from './routes/chat.js'
import { completionRoutes } from './routes/completions.js'
import { embeddingRoutes } from './routes/embeddings.js'
import { healthRoutes } from './routes/health.js'
import { landscapeRoutes } from './routes/landscape.js'
import { metricsRoutes } from './routes/metrics.js'
import { modelRoutes } from './routes/models.js'
import { pageRoutes } from './routes/page.js'
import { refineRoutes } from './routes/refine.js'
import { responseRoutes } from './routes/responses.js'
import { scoreRoutes } from './routes/score.js'
import { steeringRoutes } from './routes/steering.js'
import { tokenizeRoutes } from './routes/tokenize.js'
import { type Offer, ServedModels, type Witness } from './served.js'
import { Steering } from './steering.js'
import { Traces, type Tracing } from './tracing.js'

export interface AppOptions extends Guards {
  /** In memory. The server keeps it up to date where models come and go. */
  models: Map<string, Generation>
  /** Models that can be brought into memory, those that are there included. */
  offers?: ReadonlyMap<string, Offer>
  /** Most that the models in memory may take together. */
  memoryBytes?: number
  /** Answers requests that name no model. */
  defaultModel: string
  limits: Limits
  logger: FastifyBaseLogger
  version: string
  /** Where responses are kept. Closed with the app. */
  store: JobStore
  /** Where it is counted what clients use: in this process, unless it is said. Closed with the app. */
  counts?: Counts
  /** Where spans go, if anywhere. Closed with the app. */
  tracing?: Tracing
  /** Going down: answers under way are finished, new ones refused. */
  draining?: () => boolean
}

/** Everything on one port. */
export async function buildApp(options: AppOptions): Promise<App> {
  const parts = partsOf(options)
  const app = await openFront(parts, options)
  operationRoutes(app, parts)
  return app
}

/** Metrics and administration apart from what clients reach. */
export async function buildApart(options: AppOptions): Promise<Record<'app' | 'operations', App>> {
  const parts = partsOf(options)
  const app = await openFront(parts, options)
  const operations = createApp(options.limits, parts.metrics, options.logger)
  await guardApp(operations, parts, options)
  healthRoutes(operations, parts)
  operationRoutes(operations, parts)
  return { app, operations }
}

function partsOf(options: AppOptions): Parts {
  const { limits, logger, models, store, version } = options
  const metrics = new Metrics(version)
  const served = new ServedModels(
    {
      loaded: models,
      defaultName: options.defaultModel,
      ...(options.offers && { offers: options.offers }),
      ...(options.memoryBytes !== undefined && { memoryBytes: options.memoryBytes }),
    },
    witnessOf(metrics, logger),
  )
  const quotas = new Quotas(limits.rates, options.counts)
  const traces = new Traces(options.tracing)
  const admission = new Admission(served, limits, quotas, metrics, traces)
  const steering = new Steering()
  return {
    models: served,
    limits,
    metrics,
    quotas,
    admission,
    steering,
    traces,
    responses: new Responses({ admission, limits, models: served, steering, store, log: logger }),
    owner: (client) => (options.keys ? client : ''),
    version,
    draining: options.draining ?? (() => false),
  }
}

async function openFront(parts: Parts, options: AppOptions): Promise<App> {
  const { limits, logger, version } = options
  const app = createApp(limits, parts.metrics, logger)
  await openSockets(app, limits.frameBytes)
  await guardApp(app, parts, options)
  rememberReplies(app, parts.owner)
  await document(app, version)
  await pageRoutes(app)
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
  app.addHook('onClose', async () => {
    await parts.responses.close()
    await parts.models.close()
    await parts.quotas.close()
    await parts.traces.close()
  })
  parts.responses.resume()
  return app
}

function operationRoutes(app: App, parts: Parts): void {
  metricsRoutes(app, parts)
  adminRoutes(app, parts)
}

/** What happens to models and their workers is for the metrics, and with its reason for the log. */
const witnessOf = (metrics: Metrics, logger: FastifyBaseLogger): Witness => ({
  loaded: (model, generation) => {
    metrics.adopt(model, generation)
    logger.debug({ model, bytes: generation.memory }, 'a model is in memory')
    generation.onFate((fate) => {
      if (fate.type === 'restored') logger.warn({ model }, 'a worker was started anew')
      else logger.error({ model, ...fate }, 'a worker is not there')
    })
  },
  unloaded: (model, reason) => {
    metrics.forget(model, reason)
    logger.info({ model, reason }, 'a model has left memory')
  },
})

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
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}

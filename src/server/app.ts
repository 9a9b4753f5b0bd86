/**
 * Builds the server from what it is given: models to answer with, limits, a logger. Opens no file, listens
 * on no port and handles no signal.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { EngineClient } from '../generation/client/engine-client.js'
import { notRunning, type SharedJobs } from '../jobs/shared-jobs.js'
import type { JobStore } from '../jobs/store.js'
import type { ApiKeys } from './api-keys.js'
import type { App, AppContext } from './context.js'
import { OpenSockets } from './basin/open-sockets.js'
import { createApp, guardApp, type Guards, prepareScope } from './create-app.js'
import { FailureLog } from './failure-log.js'
import { CHECKPOINT_SECONDS, type Limits } from './limits.js'
import { Metrics } from './metrics/metrics.js'
import { adminRoutes } from './models/admin-routes.js'
import { type ModelListener, ModelRegistry, type ModelSource } from './models/model-registry.js'
import { StoredResponses } from './openai/responses/stored-responses.js'
import { apiDocs } from './plugins/api-docs.js'
import type { QueueBoard } from './plugins/queue-board.js'
import { clientDisconnect } from './plugins/client-disconnect.js'
import { idempotency } from './plugins/idempotency.js'
import { modelLease } from './plugins/model-lease.js'
import type { OriginPolicy } from './plugins/origin-policy.js'
import { webSockets } from './plugins/web-sockets.js'
import { Quotas } from './requests/quotas.js'
import { RequestService } from './requests/request-service.js'
import { Traces, type Tracing } from './requests/request-trace.js'
import { RunningRequests, type SteerElsewhere } from './requests/running-requests.js'
import type { UsageStore } from './requests/usage-store.js'
import { chatRoutes } from './routes/chat-routes.js'
import { completionRoutes } from './routes/completion-routes.js'
import { embeddingRoutes } from './routes/embedding-routes.js'
import { healthRoutes } from './routes/health-routes.js'
import { landscapeRoutes } from './routes/landscape-routes.js'
import { metricsRoutes } from './routes/metrics-routes.js'
import { type ModelFiles, modelFileRoutes } from './routes/model-file-routes.js'
import { modelRoutes } from './routes/model-routes.js'
import { pageRoutes } from './routes/page-routes.js'
import { refineRoutes } from './routes/refine-routes.js'
import { responseRoutes } from './routes/response-routes.js'
import { scoreRoutes } from './routes/score-routes.js'
import { steeringRoutes } from './routes/steering-routes.js'
import { tokenizeRoutes } from './routes/tokenize-routes.js'

export interface AppOptions {
  /** In memory. The server adds and removes models that are loaded and unloaded. */
  models: Map<string, EngineClient>
  /** Models that can be brought into memory, those that are there included. */
  sources?: ReadonlyMap<string, ModelSource>
  /** Looks again for the models that there are; absent: they are always the same. */
  rescan?: () => ReadonlyMap<string, ModelSource>
  /** Most bytes that the models in memory may take together. */
  memoryBytes?: number
  /** Files of models that clients may fetch. Absent: none. */
  modelFiles?: ModelFiles
  /** Answers requests that name no model. */
  defaultModel: string
  limits: Limits
  logger: FastifyBaseLogger
  version: string
  /** Absent: everybody who reaches the server may use it. */
  keys?: ApiKeys
  origins?: OriginPolicy
  /** `/docs` and `/openapi.json` need a key like other routes; absent: they are open. */
  privateDocs?: boolean
  /** Where responses are kept. Closed with the app. */
  store: JobStore
  /** The servers that share the store and run what is in the background; absent: this one alone. Closed with the app. */
  shared?: SharedJobs
  /** Shows what waits for them; absent: there is no such page. */
  queueBoard?: QueueBoard
  /** Seconds between two checkpoints of a response in the background; 0: there are none. */
  checkpointSeconds?: number
  /** Signs the states of responses that clients take away, 32 bytes at least; absent: one of this process. */
  stateKey?: Uint8Array
  /** Where the usage of clients is counted; absent: in this process. Closed with the app. */
  usage?: UsageStore
  /** Where spans go; absent: nowhere. Closed with the app. */
  tracing?: Tracing
  /** True while the server goes down: it finishes the answers that run and refuses new ones. */
  draining?: () => boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Leaves what runs in the background to the next process, while there are engines to save it. */
    handOver: () => Promise<void>
  }
}

/** For clients of a response that another server runs. */
const steeringElsewhere =
  (shared: SharedJobs): SteerElsewhere =>
  async (id, owner, control) => {
    const record = await shared.store.get(id)
    if (record?.owner !== owner || record.expires !== null) throw notRunning(id)
    const { choices } = (await shared.control(id, control)) as { choices: number }
    return choices
  }

/** Everything on one port. */
export async function buildApp(options: AppOptions): Promise<App> {
  const components = componentsFrom(options)
  const app = await openPublicApp(components, options)
  await addOperationRoutes(app, components.context, options, options.keys !== undefined)
  return app
}

/** Metrics and administration apart from what clients reach. */
export async function buildApart(options: AppOptions): Promise<Record<'app' | 'operations', App>> {
  const components = componentsFrom(options)
  const app = await openPublicApp(components, options)
  const operations = await createApp(components.context, options.logger)
  await guardApp(operations, components.guards)
  healthRoutes(operations, components.context)
  await addOperationRoutes(operations, components.context, options, false)
  return { app, operations }
}

interface Components {
  context: AppContext
  guards: Guards
}

function componentsFrom(options: AppOptions): Components {
  const { keys, limits, logger, origins = {}, shared, store, tracing, version } = options
  const metrics = new Metrics(version)
  // Models come and go before there is anything that stores responses.
  const later: { responses?: StoredResponses } = {}
  const models = new ModelRegistry(
    {
      inMemory: options.models,
      defaultName: options.defaultModel,
      ...(options.sources && { sources: options.sources }),
      ...(options.memoryBytes !== undefined && { memoryBytes: options.memoryBytes }),
    },
    modelListener(metrics, logger, () => {
      later.responses?.modelsChanged()
    }),
  )
  const limited = Object.keys(limits.rates).length > 0
  const quotas = limited ? new Quotas(limits.rates, options.usage) : undefined
  const traces = tracing && new Traces(tracing)
  const requests = new RequestService({
    engines: models.inMemory,
    place: ({ model }, name) => models.placeBeside(model.name, name),
    limits,
    quotas,
    metrics,
    traces,
  })
  const running = new RunningRequests(shared && steeringElsewhere(shared))
  shared?.listen(metrics.fleet)
  const { checkpointSeconds = CHECKPOINT_SECONDS } = options
  const responses = new StoredResponses({
    requests,
    running,
    limits,
    models,
    store,
    shared,
    checkpointSeconds,
    metrics,
    stateKey: options.stateKey ?? randomBytes(32),
    log: logger,
  })
  later.responses = responses
  const draining = options.draining ?? (() => false)
  return {
    context: {
      requests,
      running,
      responses,
      models,
      sockets: new OpenSockets(limits, metrics.instruments),
      failures: new FailureLog(logger),
      limits,
      metrics,
      shared,
      version,
      draining,
    },
    guards: { keys, origins, quotas, traces },
  }
}

/**
 * The API below an app that someone else has built and listens with: its routes, hooks and errors are those of
 * this scope alone. Without the page, the page of the documentation, metrics and administration.
 */
export async function mountApp(scope: App, options: AppOptions): Promise<void> {
  const components = componentsFrom(options)
  await prepareScope(scope, components.context)
  await addApi(scope, components, options)
}

async function openPublicApp(components: Components, options: AppOptions): Promise<App> {
  const { context, guards } = components
  const app = await createApp(context, options.logger)
  await addApi(app, components, options, async () => {
    await app.register(apiDocs, {
      version: options.version,
      models: context.models,
      keyed: guards.keys !== undefined,
      secret: options.privateDocs ?? false,
    })
    await pageRoutes(app)
  })
  return app
}

/** `addPages`: what describes the API, which must be there before its routes. */
async function addApi(
  app: App,
  { context, guards }: Components,
  options: AppOptions,
  addPages: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const { limits, models, responses } = context
  // Whoever has built the app may have sockets already.
  if (!app.hasDecorator('websocketServer'))
    await app.register(webSockets, { frameBytes: limits.frameBytes })
  await guardApp(app, guards)
  await app.register(clientDisconnect)
  await app.register(modelLease, { models })
  await app.register(idempotency, { shared: options.shared?.replies })
  await addPages()
  const { modelFiles = new Map() } = options
  modelRoutes(app, context, modelFiles)
  if (modelFiles.size > 0) modelFileRoutes(app, modelFiles)
  completionRoutes(app, context)
  chatRoutes(app, context)
  steeringRoutes(app, context)
  responseRoutes(app, context)
  refineRoutes(app, context)
  scoreRoutes(app, context)
  embeddingRoutes(app, context)
  landscapeRoutes(app, context)
  tokenizeRoutes(app, context)
  healthRoutes(app, context)
  app.decorate('handOver', () => responses.handOver())
  app.addHook('onClose', async () => {
    await responses.handOver()
    await responses.close()
    await models.close()
    await options.usage?.close()
    await options.tracing?.close()
  })
  await responses.resume()
}

/** `restricted`: clients with keys of their own reach the port. */
async function addOperationRoutes(
  app: App,
  context: AppContext,
  { queueBoard, rescan }: AppOptions,
  restricted: boolean,
): Promise<void> {
  metricsRoutes(app, context, restricted)
  adminRoutes(app, context, rescan)
  await queueBoard?.(app)
}

/** Counts what happens to models and their workers, and logs it with its reason. */
const modelListener = (
  metrics: Metrics,
  logger: FastifyBaseLogger,
  listed: () => void,
): ModelListener => ({
  listed,
  loaded: (model, engine) => {
    metrics.followModel(model, engine)
    logger.debug({ model, bytes: engine.memory }, 'a model is in memory')
    engine.onWorkerStatus((status) => {
      if (status.type === 'restored') logger.warn({ model }, 'a worker was started again')
      else logger.error({ model, ...status }, 'a worker is not there')
    })
  },
  unloaded: (model, reason) => {
    metrics.forgetModel(model, reason)
    logger.info({ model, reason }, 'a model has left memory')
  },
})

/**
 * What every port of this server has in common: how a request is read, accounted for, let in or
 * refused. Knows no route.
 */
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { BasinError } from '../errors.js'
import { type Doors, guardDoors, open } from './doors.js'
import { installErrorBoundary, refuseConnection } from './error-boundary.js'
import type { Keys } from './keys.js'
import type { Limits } from './limits.js'
import type { Metrics } from './metrics/metrics.js'
import { nestsBeyond } from './nesting.js'
import type { App } from './application.js'
import type { Parts } from './parts.js'
import type { Quotas } from './quotas.js'
import type { ServedModels } from './served.js'

export interface Guards {
  /** Without any, whoever reaches the server may ask. */
  keys?: Keys
  doors?: Doors
}

export function createApp(limits: Limits, metrics: Metrics, logger: FastifyBaseLogger): App {
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
    metrics.to.errors.inc({ route, code })
  })
  readBodies(app, limits.nesting)
  keepAccounts(app, metrics)
  return app
}

/** After the hooks for sockets, which close a connection whose upgrade is refused. */
export async function guardApp(
  app: App,
  parts: Parts,
  { doors = {}, keys }: Guards,
): Promise<void> {
  parts.traces.follow(app)
  await guardDoors(app, doors, keys !== undefined)
  knowClients(app, keys)
  tellQuotas(app, parts.quotas)
  keepModels(app, parts.models)
}

/** JSON in UTF-8, and nothing else: bytes that are not UTF-8 are refused, not replaced. */
function readBodies(app: App, nesting: number): void {
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
    if (nestsBeyond(text, nesting)) {
      done(
        new BasinError('out_of_range', {
          param: 'body',
          bound: `nested at most ${nesting} deep`,
          value: 'more',
        }),
      )
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
    /** By an administrator's key. */
    administrator: boolean
  }
  interface FastifyContextConfig {
    /** Needs no key: it says nothing of models or of clients. */
    public?: boolean
  }
}

function knowClients(app: App, keys: Keys | undefined): void {
  app.decorateRequest('client', '')
  app.decorateRequest('administrator', false)
  app.addHook('onRequest', async (request, reply) => {
    request.client = request.ip
    if (!keys || request.routeOptions.config.public) return
    if (open.includes(request.routeOptions.url)) return
    void reply.header('www-authenticate', 'Bearer')
    const { admin, name } = keys.identify(request.headers)
    request.client = name
    request.administrator = admin
    void reply.removeHeader('www-authenticate')
  })
}

/** Replies to requests that count say what is left. */
function tellQuotas(app: App, quotas: Quotas): void {
  app.addHook('onSend', async (request, reply) => {
    if (request.method === 'POST') void reply.headers(quotas.headers(request.client))
  })
}

/** A request that names a model has it in memory, from before it is looked at until it is answered. */
function keepModels(app: App, models: ServedModels): void {
  const inUse = new WeakMap<object, () => void>()
  app.addHook('preHandler', async (request) => {
    const schema = request.routeOptions.schema?.body as { properties?: object } | undefined
    if (!schema?.properties || !('model' in schema.properties)) return
    const { model } = request.body as { model?: string | null }
    inUse.set(request, await models.use(model))
  })
  app.addHook('onResponse', (request, _, done) => {
    inUse.get(request)?.()
    done()
  })
}

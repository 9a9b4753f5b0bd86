/**
 * Spans of requests, and of what runs for them: waiting, prefill, refinement. Knows OpenTelemetry's API
 * and no exporter. Attributes are names, numbers and reasons; never a text, a key or an address.
 */
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { open } from './origin-policy.js'
import type { App } from '../application.js'
import { RequestTrace } from '../requests/request-trace.js'

/** Where spans go. */
export interface Tracing {
  readonly tracer: Tracer
  /** Of a caller that traces too (W3C Trace Context). */
  parentOf: (headers: IncomingHttpHeaders) => Context
  /** What has not been sent yet is sent. */
  close: () => Promise<void>
}

/** Asked again and again by what watches the server: not worth a trace. */
const silent = [...open, '/metrics']

export class Traces {
  /** The request that is being answered. */
  private readonly present = new AsyncLocalStorage<Context>()

  constructor(private readonly tracing: Tracing | undefined) {}

  /** A span for each request of this app but those of probes and of sockets, whose runs have their own. */
  follow(app: App): void {
    const { present, tracing } = this
    if (!tracing) return
    const contexts = new WeakMap<FastifyRequest, Context>()
    app.addHook('onRequest', (request, reply, done) => {
      const { headers, routeOptions } = request
      if (!silent.includes(routeOptions.url) && headers.upgrade === undefined) {
        const parent = tracing.parentOf(headers)
        const span = spanOf(tracing.tracer, request, reply, parent)
        contexts.set(request, trace.setSpan(parent, span))
      }
      done()
    })
    // The last hook before the handler: reading the body has left the context of the first.
    app.addHook('preHandler', (request, _, done) => {
      const context = contexts.get(request)
      if (context) present.run(context, done)
      else done()
    })
  }

  /** Of one run of `model`, asked for through `/v1/` and `route`; of the present request if there is one. */
  run(model: string, route: string): RequestTrace | undefined {
    const { present, tracing } = this
    return (
      tracing && new RequestTrace(tracing.tracer, present.getStore() ?? ROOT_CONTEXT, model, route)
    )
  }

  async close(): Promise<void> {
    await this.tracing?.close()
  }
}

/** It ends when the last byte of the reply has left, or its client. */
function spanOf(
  tracer: Tracer,
  { id, method, routeOptions }: FastifyRequest,
  { raw }: FastifyReply,
  parent: Context,
): Span {
  const route = routeOptions.url ?? 'unknown'
  const span = tracer.startSpan(
    `${method} ${route}`,
    {
      kind: SpanKind.SERVER,
      attributes: { 'http.request.method': method, 'http.route': route, 'basin.request_id': id },
    },
    parent,
  )
  raw.once('close', () => {
    const { statusCode, writableFinished } = raw
    span.setAttribute('http.response.status_code', statusCode)
    span.setAttribute('basin.abandoned', !writableFinished)
    if (statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
  return span
}

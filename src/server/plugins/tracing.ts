/**
 * A span for each HTTP request, and the parent of the spans of what runs for it. Sockets have none: an
 * engine request that a frame starts has a trace of its own.
 */
import { type Context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { whenReplyEnds } from '../pending-replies.js'
import type { Traces } from '../requests/request-trace.js'
import { livenessPaths } from '../routes/health-routes.js'

/** Whatever watches the server asks for these again and again: they are not worth a trace. */
const untraced = [...livenessPaths, '/metrics']

export const tracing = fp<{ traces: Traces }>(
  (app, { traces }, done) => {
    const contexts = new WeakMap<FastifyRequest, Context>()
    app.addHook('onRequest', (request, reply, next) => {
      const { headers, routeOptions, ws } = request
      if (!untraced.includes(routeOptions.url) && !ws) {
        const parent = traces.tracing.parentOf(headers)
        contexts.set(request, trace.setSpan(parent, spanOf(traces, request, reply, parent)))
      }
      next()
    })
    // Reading the body has left the asynchronous context of the first hook, so the last one enters it.
    app.addHook('preHandler', (request, _, next) => {
      const context = contexts.get(request)
      if (context) traces.within(context, next)
      else next()
    })
    done()
  },
  { name: 'tracing' },
)

/** It ends when the last byte of the reply has left, or its client. */
function spanOf(
  { tracing: { tracer } }: Traces,
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
  whenReplyEnds(raw, () => {
    const { statusCode, writableFinished } = raw
    span.setAttribute('http.response.status_code', statusCode)
    span.setAttribute('basin.abandoned', !writableFinished)
    if (statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
  return span
}

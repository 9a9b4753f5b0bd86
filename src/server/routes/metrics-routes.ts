/** `GET /metrics`: the Prometheus exposition. */
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import { BasinError } from '../../errors.js'
import type { App, AppContext } from '../context.js'
import { replies } from '../schemas/reply-schema.js'

/** `restricted`: for administrators only, because clients reach the port and figures tell of other clients. */
export function metricsRoutes(
  app: App,
  { metrics, models, shared }: Pick<AppContext, 'metrics' | 'models' | 'shared'>,
  restricted: boolean,
): void {
  const schema = {
    operationId: 'getMetrics',
    summary: 'Metrics for Prometheus',
    tags: ['operation'],
    response: {
      ...replies(Type.String()),
      200: {
        description: 'The exposition',
        content: { 'text/plain': { schema: Type.String() } },
      },
    },
  }
  const onRequest: onRequestHookHandler = ({ administrator }, _, done) => {
    const reason = 'Metrics need the key of an administrator'
    done(restricted && !administrator ? new BasinError('forbidden', { reason }) : undefined)
  }
  app.get('/metrics', { onRequest, schema }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.text(models.inMemory, shared)),
  )
}

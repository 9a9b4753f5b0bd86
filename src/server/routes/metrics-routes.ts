/** `GET /metrics`: the Prometheus exposition. */
import { Type } from 'typebox'
import type { App, AppContext } from '../context.js'
import { replies } from '../schemas/reply-schema.js'

export function metricsRoutes(
  app: App,
  { metrics, models }: Pick<AppContext, 'metrics' | 'models'>,
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
  app.get('/metrics', { schema }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.text(models.inMemory)),
  )
}

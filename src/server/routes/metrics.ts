/** `GET /metrics`: the Prometheus exposition. */
import type { App, Parts } from '../parts.js'

export function metricsRoutes(app: App, { metrics, models }: Parts): void {
  const schema = {
    summary: 'Metrics for Prometheus',
    tags: ['operation'],
    produces: ['text/plain'],
  }
  app.get('/metrics', { schema }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.text(models.byName)),
  )
}

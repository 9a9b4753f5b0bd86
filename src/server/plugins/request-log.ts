/** Every reply carries the id of its request, writes a line to the log and is counted in the metrics. */
import fp from 'fastify-plugin'
import type { Metrics } from '../metrics/metrics.js'

export const requestLog = fp<{ metrics: Metrics }>(
  (app, { metrics: { instruments } }, done) => {
    app.addHook('onRequest', async (request, reply) => {
      void reply.header('x-request-id', request.id)
    })
    app.addHook('onResponse', async (request, reply) => {
      const { method, routeOptions } = request
      const route = routeOptions.url ?? 'unknown'
      const status = reply.statusCode
      const seconds = reply.elapsedTime / 1000
      instruments.httpRequests.inc({ method, route, status })
      instruments.httpSeconds.observe({ route }, seconds)
      request.log.info({ method, route, status, seconds }, 'answered')
    })
    done()
  },
  { name: 'request-log' },
)

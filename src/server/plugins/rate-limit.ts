/** Replies to requests that count say what their client may still use in this minute. */
import fp from 'fastify-plugin'
import type { Quotas } from '../requests/quotas.js'

export const rateLimit = fp<{ quotas: Quotas }>(
  (app, { quotas }, done) => {
    app.addHook('onSend', async (request, reply) => {
      if (request.method === 'POST') void reply.headers(quotas.headers(request.client))
    })
    done()
  },
  { name: 'rate-limit', dependencies: ['auth'] },
)

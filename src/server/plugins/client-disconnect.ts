/** Tells whatever runs for an HTTP request that its client has left. */
import fp from 'fastify-plugin'
import { whenReplyEnds } from '../pending-replies.js'
import type { Requester } from '../requests/requester.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Aborted when the client leaves before it has the whole reply. */
    disconnected: Requester['disconnected']
  }
}

export const clientDisconnect = fp(
  (app, _, done) => {
    app.decorateRequest('disconnected')
    app.addHook('onRequest', (request, { raw }, next) => {
      const controller = new AbortController()
      request.disconnected = controller.signal
      whenReplyEnds(raw, () => {
        if (!raw.writableFinished) controller.abort()
      })
      next()
    })
    done()
  },
  { name: 'client-disconnect' },
)

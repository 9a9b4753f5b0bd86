/** WebSocket `/v1/refine`: an answer one can watch and steer. The protocol is in docs/socket.md. */
import { BasinError } from '../../errors.js'
import { RefineSession } from '../basin/refine-session.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'

export function refineRoutes(app: App, parts: AppContext): void {
  const { sockets } = parts.metrics.to
  app.route({
    method: 'GET',
    url: '/v1/refine',
    schema: { hide: true },
    handler: () => {
      throw new BasinError('invalid_request', {
        param: 'upgrade',
        reason: 'this path is for WebSockets',
      })
    },
    wsHandler: (socket, request) => {
      sockets.inc()
      socket.once('close', () => {
        sockets.dec()
      })
      new RefineSession(socket, parts, request.client, request.log)
    },
  })
}

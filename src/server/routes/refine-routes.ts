/** WebSocket `/v1/refine`: an answer that a client can watch and steer. docs/socket.md has the protocol. */
import { BasinError } from '../../errors.js'
import { RefineSession } from '../basin/refine-session.js'
import type { App, AppContext } from '../context.js'
import { SOCKET_PATH } from '../http-request.js'

export function refineRoutes(app: App, context: AppContext): void {
  const { sockets } = context
  app.route({
    method: 'GET',
    url: SOCKET_PATH,
    schema: { hide: true },
    handler: () => {
      const reason = 'this path is for WebSockets'
      throw new BasinError('invalid_request', { param: 'upgrade', reason })
    },
    // Nothing runs between this and the handler, so that a client cannot open several at once.
    preHandler: ({ client, ws }, _, done) => {
      if (ws) sockets.check(client)
      done()
    },
    wsHandler: (socket, request) => {
      sockets.add(socket, request.raw.socket, request.client)
      new RefineSession(socket, context, request.client, request.log)
    },
  })
}

/** WebSockets. One that fails is closed; when the server closes all are, with 1001 (going away). */
import websocket from '@fastify/websocket'
import fp from 'fastify-plugin'

/** For which a peer may take part in the closing of its connection. */
const CLOSE_TIMEOUT_MS = 1000

export const webSockets = fp<{ frameBytes: number }>(
  async (app, { frameBytes }) => {
    await app.register(websocket, {
      // Longer frames than the limit are refused with a reason; far longer ones end the connection.
      options: { maxPayload: 4 * frameBytes },
      errorHandler: (error, socket, request) => {
        request.log.info({ err: error }, 'a socket failed')
        socket.close(1011)
      },
      preClose: (done) => {
        const { clients } = app.websocketServer
        for (const client of clients) client.close(1001)
        setTimeout(() => {
          for (const client of clients) client.terminate()
        }, CLOSE_TIMEOUT_MS).unref()
        done()
      },
    })
  },
  { name: 'web-sockets' },
)

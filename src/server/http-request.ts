/**
 * A request as Node's HTTP server makes it, except that only the handshake of the socket is an upgrade. HTTP
 * lets a server ignore any other `Upgrade`, such as the offer of HTTP/2 (`h2c`) that curl and Java's client
 * send with ordinary requests. Node 20 asks a request whether it is an upgrade and has no other way to decline.
 */
import { IncomingMessage } from 'node:http'

/** The path whose requests may become WebSockets. */
export const SOCKET_PATH = '/v1/refine'

export class HttpRequest extends IncomingMessage {
  /** What the parser found: the headers ask for another protocol. Null before it has read them. */
  declare private asksUpgrade: boolean | null

  /** Read by Node once the headers are known. A tunnel (CONNECT) is no HTTP request either. */
  get upgrade(): boolean {
    return this.asksUpgrade === true && (this.method === 'CONNECT' || this.isSocketHandshake)
  }

  /** Called by Node's constructor and by its parser. */
  set upgrade(asked: boolean | null) {
    this.asksUpgrade = asked
  }

  private get isSocketHandshake(): boolean {
    const { headers, method, url } = this
    const [path] = (url ?? '').split('?')
    const isWebSocket = headers.upgrade?.toLowerCase() === 'websocket'
    return method === 'GET' && path === SOCKET_PATH && isWebSocket
  }
}

/**
 * The open sockets of all clients: how many each has, and what their unfinished messages cost. A client that
 * has as many as it may gets no further one. Where unfinished messages take too much memory, of one client or
 * of all, the socket that takes most is closed; so is one whose message does not end in time.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from '@fastify/websocket'
import { BasinError } from '../../errors.js'
import type { Limits } from '../limits.js'
import type { Instruments } from '../metrics/instruments.js'
import { FrameMeter } from './frame-meter.js'

/** Why a socket was not opened, or was closed. */
export type SocketRefusal = 'sockets' | 'bytes' | 'seconds'

interface OpenSocket {
  socket: WebSocket
  client: string
  meter: FrameMeter
  /** Runs while a message is unfinished. */
  timer: NodeJS.Timeout | undefined
}

interface ClientSockets {
  open: Set<OpenSocket>
  unfinishedBytes: number
}

/** Of RFC 6455: the peer breaks a rule of this server. */
const POLICY_VIOLATION = 1008

export class OpenSockets {
  private readonly byClient = new Map<string, ClientSockets>()
  private unfinishedBytes = 0

  constructor(
    private readonly limits: Pick<
      Limits,
      'clientSockets' | 'clientUnfinishedBytes' | 'requestSeconds' | 'unfinishedBytes'
    >,
    private readonly instruments: Pick<
      Instruments,
      'sockets' | 'socketsRefused' | 'unfinishedBytes'
    >,
  ) {}

  /** Throws `rate_limited` where `client` has as many sockets as it may. */
  check(client: string): void {
    const { clientSockets } = this.limits
    if ((this.byClient.get(client)?.open.size ?? 0) < clientSockets) return
    this.instruments.socketsRefused.inc({ reason: 'sockets' })
    throw new BasinError('rate_limited', { limit: `${clientSockets} sockets at once` })
  }

  /** Until it closes, counts `socket`, whose bytes come over `connection`. */
  add(socket: WebSocket, connection: Socket, client: string): void {
    const opened: OpenSocket = { socket, client, meter: new FrameMeter(), timer: undefined }
    const sockets = this.byClient.get(client) ?? { open: new Set(), unfinishedBytes: 0 }
    this.byClient.set(client, sockets)
    sockets.open.add(opened)
    this.instruments.sockets.inc()
    // Before the library takes them, since a message that they end has then left its memory.
    connection.prependListener('data', (piece: Buffer) => {
      this.take(opened, sockets, piece)
    })
    socket.once('close', () => {
      this.instruments.sockets.dec()
      this.forget(opened, sockets)
    })
  }

  private take(opened: OpenSocket, sockets: ClientSockets, piece: Buffer): void {
    if (!sockets.open.has(opened)) return
    const { meter } = opened
    const before = meter.unfinishedBytes
    meter.take(piece)
    if (before === 0 && meter.unfinishedBytes === 0) return
    this.count(sockets, meter.unfinishedBytes - before)
    this.setTimer(opened, sockets)
    const { clientUnfinishedBytes, unfinishedBytes } = this.limits
    if (sockets.unfinishedBytes > clientUnfinishedBytes) this.closeLargest([sockets])
    else if (this.unfinishedBytes > unfinishedBytes) this.closeLargest(this.byClient.values())
  }

  private setTimer(opened: OpenSocket, sockets: ClientSockets): void {
    if (opened.meter.unfinishedBytes === 0) {
      clearTimeout(opened.timer)
      opened.timer = undefined
    } else {
      opened.timer ??= setTimeout(() => {
        this.close(opened, sockets, 'seconds')
      }, this.limits.requestSeconds * 1000)
    }
  }

  private closeLargest(clients: Iterable<ClientSockets>): void {
    let largest: { opened: OpenSocket; sockets: ClientSockets } | undefined
    for (const sockets of clients) {
      for (const opened of sockets.open) {
        const most = largest?.opened.meter.unfinishedBytes ?? 0
        if (opened.meter.unfinishedBytes > most) largest = { opened, sockets }
      }
    }
    if (largest) this.close(largest.opened, largest.sockets, 'bytes')
  }

  /** Says why, and frees its memory without waiting for the peer. */
  private close(opened: OpenSocket, sockets: ClientSockets, reason: 'bytes' | 'seconds'): void {
    this.instruments.socketsRefused.inc({ reason })
    const { socket } = opened
    socket.close(
      POLICY_VIOLATION,
      reason === 'bytes' ? 'unfinished messages are too large' : 'a message did not end in time',
    )
    socket.terminate()
    this.forget(opened, sockets)
  }

  private forget(opened: OpenSocket, sockets: ClientSockets): void {
    if (!sockets.open.delete(opened)) return
    clearTimeout(opened.timer)
    this.count(sockets, -opened.meter.unfinishedBytes)
    if (sockets.open.size === 0) this.byClient.delete(opened.client)
  }

  private count(sockets: ClientSockets, bytes: number): void {
    sockets.unfinishedBytes += bytes
    this.unfinishedBytes += bytes
    this.instruments.unfinishedBytes.set(this.unfinishedBytes)
  }
}

/**
 * The replies that a connection still waits for. A client may send further requests before the first is
 * answered (pipelining); their replies leave in order, and Node attaches only the first of them to the
 * connection. When it breaks, Node tells that one alone; here the others are told as well. Knows Node's
 * HTTP and no framework.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const pending = new WeakMap<Socket, Set<ServerResponse>>()

/** From now on `reply` emits `close` in every case: when it is out, and when its connection is gone. */
export function trackReply(socket: Socket, reply: ServerResponse): void {
  const replies = pending.get(socket) ?? followConnection(socket)
  replies.add(reply)
  reply.once('close', () => replies.delete(reply))
}

/** Calls `listener` when the reply is out or its connection is gone, at once if that has happened. */
export function whenReplyEnds(reply: ServerResponse, listener: () => void): void {
  if (reply.destroyed) listener()
  else reply.once('close', listener)
}

/** Whether what is written to the connection now would be read as the reply to an earlier request. */
export const owesReply = (socket: Socket): boolean =>
  [...(pending.get(socket) ?? [])].some(({ headersSent, req }) => headersSent || req.complete)

function followConnection(socket: Socket): Set<ServerResponse> {
  const replies = new Set<ServerResponse>()
  pending.set(socket, replies)
  socket.once('close', () => {
    // Node's own listener closes the reply that is attached, whichever of the two listeners comes first.
    process.nextTick(() => {
      for (const reply of replies) if (!reply.destroyed) abandon(reply)
    })
  })
  return replies
}

function abandon(reply: ServerResponse): void {
  reply.destroy()
  reply.emit('close')
}

/** Replies of server-sent events. Knows their format and headers, and not what they carry. */
import type { FastifyReply } from 'fastify'
import type { Readable } from 'node:stream'

/** A comment to begin with: headers leave with the first byte, and the first event may take long. */
export const streamOpening = ': open\n\n'

/** `data`: a text without line breaks. */
export const eventText = (data: string, name?: string): string =>
  name === undefined ? `data: ${data}\n\n` : `event: ${name}\ndata: ${data}\n\n`

export const sendEvents = <R extends Pick<FastifyReply, 'header' | 'type' | 'send'>>(
  reply: R,
  body: Readable,
): ReturnType<R['send']> => {
  // So that proxies on the way do not buffer events.
  void reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no')
  return reply.type('text/event-stream; charset=utf-8').send(body) as ReturnType<R['send']>
}

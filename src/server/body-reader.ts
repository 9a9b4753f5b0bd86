/**
 * Reads the body of a request into one buffer. What it costs is bounded by the bytes of the body, however they
 * come: pieces are copied and not kept, and a body in far more pieces than it needs is refused, since each
 * piece takes time of its own.
 */
import type { IncomingMessage } from 'node:http'
import { BasinError } from '../errors.js'

const FIRST_BYTES = 4096
/** Pieces that any body may have, and bytes for which it may have one more. */
const FREE_PIECES = 4096
const BYTES_PER_PIECE = 64

/** Rejects with `body_too_large`, `invalid_request`, and what the connection fails with. */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let buffer = Buffer.allocUnsafe(FIRST_BYTES)
    let length = 0
    let pieces = 0
    const finish = (settle: () => void) => {
      request.off('data', take).off('end', end).off('error', fail)
      settle()
    }
    const fail = (error: Error) => {
      finish(() => {
        reject(error)
      })
    }
    const end = () => {
      finish(() => {
        resolve(buffer.subarray(0, length))
      })
    }
    const take = (piece: Buffer) => {
      const refusal = refusalOf(length + piece.length, ++pieces, limit)
      if (refusal) {
        // The rest stays unread; the connection closes with the reply.
        request.pause()
        fail(refusal)
        return
      }
      if (length + piece.length > buffer.length) {
        const larger = Buffer.allocUnsafe(Math.max(2 * buffer.length, length + piece.length))
        buffer.copy(larger, 0, 0, length)
        buffer = larger
      }
      piece.copy(buffer, length)
      length += piece.length
    }
    if (Number(request.headers['content-length'] ?? 0) > limit) {
      reject(new BasinError('body_too_large', { limit }))
      return
    }
    request.on('data', take).on('end', end).on('error', fail)
  })
}

function refusalOf(length: number, pieces: number, limit: number): BasinError | undefined {
  if (length > limit) return new BasinError('body_too_large', { limit })
  if (pieces <= FREE_PIECES + length / BYTES_PER_PIECE) return undefined
  const reason = `it came in ${pieces} pieces for ${length} bytes: send larger ones`
  return new BasinError('invalid_request', { param: 'body', reason })
}

/** What the server refuses, or a reply that breaks off. */

interface ErrorBody {
  error?: { message?: string; code?: string; type?: string; param?: string | null }
}

export class BasinClientError extends Error {
  constructor(
    message: string,
    /** A code of docs/http.md, such as `queue_full`; `disconnected` where the connection broke. */
    readonly code: string,
    /** Of the reply; 0 where there was none. */
    readonly status: number,
    /** The field at fault. */
    readonly param: string | null = null,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'BasinClientError'
  }
}

/** From the `error` of a reply, of a stream or of the socket. */
export function errorFrom(body: unknown, status: number): BasinClientError {
  const { error } = (typeof body === 'object' && body !== null ? body : {}) as ErrorBody
  const message = error?.message ?? `The server replied with status ${status} and no reason`
  return new BasinClientError(message, error?.code ?? 'unknown', status, error?.param ?? null)
}

export const disconnected = (cause?: unknown): BasinClientError =>
  new BasinClientError(
    'The connection broke before the reply was complete; ask again',
    'disconnected',
    0,
    null,
    { cause },
  )

/**
 * The one place where the failure of a route becomes a reply: by the table of errors in src/errors.ts, in
 * OpenAI's shape. A failure that the table does not have is logged, and its client hears of an internal error.
 */
import { maxHeaderSize, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { BasinError } from '../errors.js'
import type { FailureLog } from './failure-log.js'
import { meantPath } from './other-servers.js'
import { owesReply } from './pending-replies.js'
import { refusal } from './schema-errors.js'

/** Seconds after which a client may try again, by status. */
const RETRY_AFTER_S: Readonly<Record<number, string>> = { 429: '1', 503: '5' }

/** Fastify's codes for bodies that cannot be read as JSON. */
const unreadableBody: Readonly<Record<string, string>> = {
  FST_ERR_CTP_EMPTY_JSON_BODY: 'it is empty',
  FST_ERR_CTP_INVALID_JSON_BODY: 'it is not JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'its length is not that of Content-Length',
}

function fromFastify(error: FastifyError, request: FastifyRequest, bodyBytes: number) {
  if (error.validation) {
    const context = error.validationContext ?? 'body'
    const { body, params, query } = request
    const value = { body, params, querystring: query, headers: request.headers }[context]
    return refusal(error.validation, value, context)
  }
  const unreadable = unreadableBody[error.code]
  if (unreadable) return new BasinError('invalid_request', { param: 'body', reason: unreadable })
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new BasinError('body_too_large', { limit: bodyBytes })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new BasinError('unsupported_media_type')
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_ASYNC_CONSTRAINT':
      return new BasinError('invalid_request', { param: 'url', reason: 'it cannot be decoded' })
    case 'FST_ERR_MAX_PARAM_LENGTH':
    case 'FST_ERR_NOT_FOUND':
      return new BasinError('not_found', { what: 'This path' })
    case 'ERR_STREAM_PREMATURE_CLOSE':
    // The client left while it sent its body.
    case 'ECONNRESET':
      return new BasinError('cancelled')
    default:
      // A file that is not served, or a path that leads out of the folder of files.
      if (error.statusCode === 403 || error.statusCode === 404) {
        return new BasinError('not_found', { what: 'This path' })
      }
      return new BasinError('internal', {}, { cause: error })
  }
}

export const asBasinError = (error: unknown): BasinError =>
  error instanceof BasinError ? error : new BasinError('internal', {}, { cause: error })

/** What a client may know of an error: the reason of an engine's failure is for the operator only. */
export const publicError = (error: BasinError): BasinError =>
  error.status === 500 ? new BasinError('internal', {}, { cause: error }) : error

function sendError(reply: FastifyReply, error: BasinError): FastifyReply {
  const { retry_after: seconds } = error.facts
  const retryAfter = seconds === undefined ? RETRY_AFTER_S[error.status] : String(seconds)
  if (retryAfter) void reply.header('retry-after', retryAfter)
  return reply
    .code(error.status)
    .type('application/json; charset=utf-8')
    .send(publicError(error).toJSON())
}

/** From Node's codes for a connection that brought no request. */
function fromConnection(code: string | undefined): BasinError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new BasinError('request_timeout')
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new BasinError('headers_too_large', { limit: maxHeaderSize })
  }
  return new BasinError('invalid_request', { param: 'request', reason: 'it is not HTTP' })
}

/** For which a refused connection stays open, so that its client can read why before it is reset. */
const LINGER_MS = 1000

/**
 * Answers bytes that are no request, and closes the connection, also where its peer does not. Where earlier
 * requests wait for their replies it says nothing, since that would be read as a part of those.
 */
export function refuseConnection({ code }: { code?: string }, socket: Socket): void {
  if (code === 'ECONNRESET' || !socket.writable || owesReply(socket)) {
    socket.destroy()
    return
  }
  const closing = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => {
    clearTimeout(closing)
  })
  const error = fromConnection(code)
  const body = JSON.stringify(error)
  socket.end(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\n` +
      'Content-Type: application/json; charset=utf-8\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

const methods = ['GET', 'POST', 'DELETE'] as const

/** `count`: called with the route and the code of every error. */
export function installErrorBoundary(
  app: FastifyInstance,
  bodyBytes: number,
  failures: FailureLog,
  count: (route: string, code: string) => void,
): void {
  app.setErrorHandler((raised: FastifyError | BasinError, request, reply) => {
    const error = raised instanceof BasinError ? raised : fromFastify(raised, request, bodyBytes)
    count(request.routeOptions.url ?? 'unknown', error.code)
    failures.report(request.log, error, raised, error.message)
    return sendError(reply, error)
  })
  app.setNotFoundHandler((request, reply) => {
    const [url = '/'] = request.url.split('?')
    const allowed = methods.filter((method) => app.hasRoute({ method, url }))
    if (allowed.length === 0) {
      const isThere = (path: string) =>
        methods.some((method) => app.hasRoute({ method, url: path }))
      const meant = meantPath(url, isThere)
      const what = meant === undefined ? 'This path' : `This path (the API has ${meant})`
      return sendError(reply, new BasinError('not_found', { what }))
    }
    void reply.header('allow', allowed.join(', '))
    return sendError(reply, new BasinError('method_not_allowed', { method: request.method }))
  })
}

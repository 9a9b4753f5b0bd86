/** `/v1/responses`: create, retrieve, resume, cancel and delete responses, and list their input. */
import type { FastifyReply } from 'fastify'
import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { BasinError } from '../../errors.js'
import type { JobEvents } from '../../jobs/durable-jobs.js'
import type { App, AppContext } from '../context.js'
import { asBasinError, publicError } from '../error-boundary.js'
import { eventText, sendEvents, streamOpening } from '../event-stream.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import {
  StoredItem,
  ItemQuery,
  ResponseReply,
  ResponseRequest,
  Retrieval,
  StateReply,
} from '../schemas/response-schema.js'

const Deleted = Type.Object({
  id: Type.String(),
  object: Type.Literal('response'),
  deleted: Type.Literal(true),
})

const Items = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(StoredItem),
  first_id: Type.Union([Type.String(), Type.Null()]),
  last_id: Type.Union([Type.String(), Type.Null()]),
  has_more: Type.Boolean(),
})

/**
 * Each event under its type, as OpenAI sends them. A failure amid them is the last event, of the type `error`.
 * `report`: called with it.
 */
async function* namedEvents(
  events: JobEvents,
  report: (error: BasinError, cause: unknown) => void,
): AsyncGenerator<string, void> {
  yield streamOpening
  let next = 0
  try {
    for await (const event of events) {
      const { sequence_number, type } = JSON.parse(event) as EventHead
      next = sequence_number + 1
      yield eventText(event, type)
    }
  } catch (cause) {
    const error = asBasinError(cause)
    report(error, cause)
    const { code, message, param } = publicError(error)
    const last = { type: 'error', code, message, param, sequence_number: next }
    yield eventText(JSON.stringify(last), last.type)
  }
}

/** What every event has. */
interface EventHead {
  type: string
  sequence_number: number
}

export function responseRoutes(
  app: App,
  { failures, metrics, responses }: Pick<AppContext, 'failures' | 'metrics' | 'responses'>,
): void {
  /** An event is taken from the journal only when the client can take it. */
  const stream = (reply: FastifyReply, events: JobEvents) => {
    const report = (error: BasinError, cause: unknown) => {
      const { log, routeOptions } = reply.request
      const route = routeOptions.url ?? 'unknown'
      metrics.instruments.errors.inc({ route, code: error.code })
      failures.report(log, error, cause, 'a stream of a response failed')
    }
    return sendEvents(reply, Readable.from(namedEvents(events, report)))
  }
  const tags = ['responses']
  const params = Type.Object({ id: Type.String() })
  const Reply = Type.Unsafe<ResponseReply | Readable>(ResponseReply)
  app.post(
    '/v1/responses',
    {
      schema: {
        operationId: 'createResponse',
        summary: 'Answer, at once or in the background',
        tags,
        body: ResponseRequest,
        response: replies(Reply, ...bodyErrors, 410, 429),
      },
    },
    async (request, reply) => {
      const { body, disconnected } = request
      const asked = await responses.create(body, request)
      return body.stream ? stream(reply, asked.events(disconnected)) : asked.reply()
    },
  )
  app.get(
    '/v1/responses/:id',
    {
      schema: {
        operationId: 'getResponse',
        summary: 'A response that is kept, or its events after a number',
        tags,
        params,
        querystring: Retrieval,
        response: replies(Reply, 404, 410),
      },
    },
    async ({ disconnected, owner, params: { id }, query }, reply) => {
      const { starting_after: after } = query
      if (query.stream)
        return stream(reply, await responses.events(id, owner, after ?? -1, disconnected))
      if (after === undefined) return responses.retrieve(id, owner)
      const reason = 'needs stream=true'
      throw new BasinError('invalid_request', { param: 'starting_after', reason })
    },
  )
  app.get(
    '/v1/responses/:id/state',
    {
      schema: {
        operationId: 'getResponseState',
        summary: 'The state of a response that runs, to go on with later or elsewhere',
        description:
          'The response goes on. The text is signed: a server that has the key and the model takes it as ' +
          'resume_from of POST /v1/responses.',
        tags,
        params,
        response: replies(StateReply, 404, 410),
      },
    },
    ({ owner, params: { id } }) => responses.state(id, owner),
  )
  app.post(
    '/v1/responses/:id/cancel',
    {
      schema: {
        operationId: 'cancelResponse',
        summary: 'End a background response',
        description: 'One that has ended stays as it is.',
        tags,
        params,
        response: replies(ResponseReply, ...bodyErrors, 410),
      },
    },
    ({ owner, params: { id } }) => responses.cancel(id, owner),
  )
  app.delete(
    '/v1/responses/:id',
    {
      schema: {
        operationId: 'deleteResponse',
        summary: 'Delete a response; one that runs is ended',
        tags,
        params,
        response: replies(Deleted, ...bodyErrors, 410),
      },
    },
    async ({ owner, params: { id } }) => {
      await responses.delete(id, owner)
      return { id, object: 'response' as const, deleted: true as const }
    },
  )
  app.get(
    '/v1/responses/:id/input_items',
    {
      schema: {
        operationId: 'listResponseInputItems',
        summary: 'The items of a request',
        tags,
        params,
        querystring: ItemQuery,
        response: replies(Items, 404, 410),
      },
    },
    async ({ owner, params: { id }, query }) => {
      const { after, limit = 20, order = 'desc' } = query
      const all = [...(await responses.items(id, owner))]
      if (order === 'desc') all.reverse()
      const from = after === undefined ? 0 : all.findIndex((item) => item.id === after) + 1
      if (after !== undefined && from === 0) {
        throw new BasinError('invalid_request', { param: 'after', reason: 'no item has this id' })
      }
      const data = all.slice(from, from + limit)
      return {
        object: 'list' as const,
        data,
        first_id: data[0]?.id ?? null,
        last_id: data.at(-1)?.id ?? null,
        has_more: from + limit < all.length,
      }
    },
  )
}

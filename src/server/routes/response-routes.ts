/** `/v1/responses`: create, retrieve, resume, cancel, delete, and list what was said. */
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { BasinError, fromErrorMessage } from '../../errors.js'
import { EventStream, sendEvents } from '../event-stream.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment } from '../requests/request-observer.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import {
  InputMessage,
  ItemQuery,
  ResponseReply,
  ResponseRequest,
  Retrieval,
} from '../schemas/response-schema.js'

const Deleted = Type.Object({
  id: Type.String(),
  object: Type.Literal('response'),
  deleted: Type.Literal(true),
})

const Items = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(InputMessage),
  first_id: Type.Union([Type.String(), Type.Null()]),
  last_id: Type.Union([Type.String(), Type.Null()]),
  has_more: Type.Boolean(),
})

/** Events by their names, as OpenAI sends them. */
function relay(reply: FastifyReply, events: AsyncGenerator<string, void>) {
  const stream = new EventStream()
  const send = async () => {
    for await (const event of events) {
      const { type } = JSON.parse(event) as { type: string }
      await stream.line(event, type)
    }
    stream.end()
  }
  void send()
  return sendEvents(reply, stream.body)
}

export function responseRoutes(app: App, { owner, responses }: AppContext): void {
  const tags = ['text']
  const params = Type.Object({ id: Type.String() })
  const Reply = Type.Unsafe<ResponseReply | Readable>(ResponseReply)
  const requester = ({ client }: { client: string }) => ({ client, owner: owner(client) })
  app.post(
    '/v1/responses',
    {
      schema: {
        summary: 'Answer, at once or in the background',
        tags,
        body: ResponseRequest,
        response: replies(Reply, ...bodyErrors, 429),
      },
    },
    async (request, reply) => {
      const abandoned = abandonment(reply)
      const { body } = request
      const job = await responses.create(body, requester(request), abandoned)
      if (body.stream) return relay(reply, job.journal.follow(-1, abandoned))
      if (body.background) return job.present as ResponseReply
      await job.done
      const { failure } = job
      if (failure) throw fromErrorMessage(failure)
      return job.present as ResponseReply
    },
  )
  app.get(
    '/v1/responses/:id',
    {
      schema: {
        summary: 'A response that is kept, or its events after a number',
        tags,
        params,
        querystring: Retrieval,
        response: replies(Reply, 400, 404),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const { starting_after: after, stream } = request.query
      if (!stream) {
        if (after === undefined) return responses.retrieve(id, requester(request))
        const reason = 'needs stream=true'
        throw new BasinError('invalid_request', { param: 'starting_after', reason })
      }
      const abandoned = abandonment(reply)
      return relay(reply, responses.events(id, requester(request), after ?? -1, abandoned))
    },
  )
  app.post(
    '/v1/responses/:id/cancel',
    {
      schema: {
        summary: 'End a background response',
        description: 'One that has ended stays as it is.',
        tags,
        params,
        response: replies(ResponseReply, ...bodyErrors),
      },
    },
    (request) => responses.cancel(request.params.id, requester(request)),
  )
  app.delete(
    '/v1/responses/:id',
    {
      schema: {
        summary: 'Forget a response; one under way ends',
        tags,
        params,
        response: replies(Deleted, ...bodyErrors),
      },
    },
    async (request) => {
      const { id } = request.params
      await responses.delete(id, requester(request))
      return { id, object: 'response' as const, deleted: true as const }
    },
  )
  app.get(
    '/v1/responses/:id/input_items',
    {
      schema: {
        summary: 'The messages of a request',
        tags,
        params,
        querystring: ItemQuery,
        response: replies(Items, 400, 404),
      },
    },
    (request) => {
      const { after, limit = 20, order = 'desc' } = request.query
      const all = [...responses.items(request.params.id, requester(request))]
      if (order === 'desc') all.reverse()
      const from = after === undefined ? 0 : all.findIndex(({ id }) => id === after) + 1
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

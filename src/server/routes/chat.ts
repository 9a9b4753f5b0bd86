/** `POST /v1/chat/completions`: a completion of a conversation, in the dress that chat clients know. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { chatChunkOf, chatOf, completionRequestOf, messagesOf } from '../chat.js'
import { choicesOf } from '../choices.js'
import { streamCompletion } from '../completion-stream.js'
import { chatCompletions, complete, start } from '../completion.js'
import { sendEvents } from '../event-stream.js'
import { roomAfter } from '../job.js'
import type { App } from '../application.js'
import type { Parts } from '../parts.js'
import { abandonment } from '../runs.js'
import { Chat, ChatRequest } from '../schemas/chat.js'
import { bodyErrors, replies } from '../schemas/replies.js'

export function chatRoutes(app: App, parts: Parts): void {
  const { limits, models } = parts
  app.post(
    '/v1/chat/completions',
    {
      schema: {
        summary: 'Answer a conversation',
        tags: ['text'],
        body: ChatRequest,
        response: replies(Type.Unsafe<Chat | Readable>(Chat), ...bodyErrors, 429),
      },
    },
    async ({ body, client, log }, reply) => {
      const abandoned = abandonment(reply)
      const generation = models.pick(body.model)
      const prompt = [...(await generation.converse(messagesOf(body)))]
      const request = completionRequestOf(body, prompt)
      const options = body.stream_options ?? {}
      const asked = choicesOf(
        {
          ...request,
          max_tokens: request.max_tokens ?? roomAfter(prompt.length, generation.model),
        },
        generation,
        limits,
        {
          client,
          buffered: !body.stream,
          reportSteps: options.include_refinement ?? false,
        },
      )
      const underway = await start(parts, generation, asked, abandoned, chatCompletions)
      if (!body.stream) return chatOf(await complete(underway))
      const stream = await streamCompletion(underway, options, log, chatChunkOf)
      void reply.header('x-completion-id', underway.head.id)
      return sendEvents(reply, stream)
    },
  )
}

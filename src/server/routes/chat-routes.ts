/** `POST /v1/chat/completions`: a completion of a conversation, in the dress that chat clients know. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { chatChunkOf, chatOf, completionRequestOf, messagesOf } from '../openai/chat-completion.js'
import { choicesOf } from '../openai/completion-choices.js'
import { streamCompletion } from '../openai/completion-stream.js'
import { chatCompletions, complete, start } from '../openai/completion-run.js'
import { sendEvents } from '../event-stream.js'
import { roomAfter } from '../requests/request-settings.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment } from '../requests/request-observer.js'
import { Chat, ChatRequest } from '../schemas/chat-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function chatRoutes(app: App, parts: AppContext): void {
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

/** `POST /v1/chat/completions`: a completion of a conversation, in the dress that chat clients know. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { chatChunkOf, chatOf, completionRequestOf, messagesOf } from '../chat.js'
import { choicesOf } from '../choices.js'
import { streamCompletion } from '../completion-stream.js'
import { chatCompletions, complete, start } from '../completion.js'
import type { Generation } from '../../generation/client.js'
import type { App, Parts } from '../parts.js'
import { abandonment } from '../runs.js'
import { Chat, ChatRequest } from '../schemas/chat.js'
import { bodyErrors, replies } from '../schemas/replies.js'

/** Unless it says otherwise, a conversation may fill the context. */
function roomAfter(prompt: number, { model }: Generation): number {
  const room = model.context_length - prompt - 1
  return Math.max(1, Math.floor(room / model.answer.block) * model.answer.block)
}

export function chatRoutes(app: App, { admission, models, limits }: Parts): void {
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
        { ...request, max_tokens: request.max_tokens ?? roomAfter(prompt.length, generation) },
        generation,
        limits,
        { client, reportSteps: options.include_refinement ?? false },
      )
      const underway = start(generation, asked, admission, abandoned, chatCompletions)
      if (!body.stream) return chatOf(await complete(underway))
      const stream = await streamCompletion(underway, options, log, chatChunkOf)
      void reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no')
      return reply.type('text/event-stream; charset=utf-8').send(stream)
    },
  )
}

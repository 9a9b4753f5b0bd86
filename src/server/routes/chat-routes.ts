/** `POST /v1/chat/completions`: answers a conversation, whole or as a stream of events. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { App, AppContext } from '../context.js'
import { sendEvents } from '../event-stream.js'
import {
  chatCompletions,
  chatCompletionsWithTools,
  chatOf,
  completionRequestOf,
  toolsOf,
  turnsOf,
} from '../openai/chat-completion.js'
import { requestedChoices } from '../openai/completion-choices.js'
import { CompletionRun } from '../openai/completion-run.js'
import { streamCompletion } from '../openai/completion-stream.js'
import { conversationPrompt } from '../openai/chat-prompt.js'
import { offeredTools } from '../openai/tools.js'
import { roomAfter } from '../requests/request-settings.js'
import { Chat, ChatRequest } from '../schemas/chat-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function chatRoutes(app: App, context: AppContext): void {
  app.post(
    '/v1/chat/completions',
    {
      schema: {
        operationId: 'createChatCompletion',
        summary: 'Answer a conversation',
        tags: ['text'],
        body: ChatRequest,
        response: replies(Type.Unsafe<Chat | Readable>(Chat), ...bodyErrors, 429),
      },
    },
    async (request, reply) => {
      const { body, engine, log } = request
      const offered = offeredTools(toolsOf(body), engine)
      const turns = turnsOf(body, engine)
      const asked = await conversationPrompt(turns, request, 'messages', null, offered?.tools)
      const room = roomAfter(asked.prompt.length, engine.model)
      const completion = completionRequestOf(body, asked, room, offered?.grammar)
      const more = { templateParam: 'messages' }
      const choices = requestedChoices(completion, engine.model, context.limits, more)
      const api = offered ? chatCompletionsWithTools(offered.format) : chatCompletions
      const run = await CompletionRun.start(context, request, choices, api)
      if (!body.stream) return chatOf(await run.complete(), offered?.format)
      const stream = await streamCompletion(run, body.stream_options ?? {}, log)
      void reply.header('x-completion-id', run.head.id)
      return sendEvents(reply, stream)
    },
  )
}

/** `POST /v1/completions`: completes prompts, whole or as a stream of events. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { App, AppContext } from '../context.js'
import { sendEvents } from '../event-stream.js'
import { requestedChoices } from '../openai/completion-choices.js'
import { CompletionRun, textCompletions } from '../openai/completion-run.js'
import { streamCompletion } from '../openai/completion-stream.js'
import { Completion, CompletionRequest } from '../schemas/completion-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function completionRoutes(app: App, context: AppContext): void {
  app.post(
    '/v1/completions',
    {
      schema: {
        operationId: 'createCompletion',
        summary: 'Complete prompts, or fill the blanks of a template',
        tags: ['text'],
        body: CompletionRequest,
        response: replies(Type.Unsafe<Completion | Readable>(Completion), ...bodyErrors, 429),
      },
    },
    async (request, reply) => {
      const { body, engine, log } = request
      const choices = requestedChoices(body, engine.model, context.limits)
      const run = await CompletionRun.start(context, request, choices, textCompletions)
      if (!body.stream) return run.complete()
      const stream = await streamCompletion(run, body.stream_options ?? {}, log)
      void reply.header('x-completion-id', run.head.id)
      return sendEvents(reply, stream)
    },
  )
}

/** `POST /v1/completions`: whole, or as a stream of events. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { choicesOf } from '../openai/completion-choices.js'
import { streamCompletion } from '../openai/completion-stream.js'
import { complete, start } from '../openai/completion-run.js'
import { sendEvents } from '../event-stream.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment } from '../requests/request-observer.js'
import { Completion, CompletionRequest } from '../schemas/completion-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function completionRoutes(app: App, parts: AppContext): void {
  const { limits, models } = parts
  app.post(
    '/v1/completions',
    {
      schema: {
        summary: 'Complete prompts, or fill the blanks of a template',
        tags: ['text'],
        body: CompletionRequest,
        response: replies(Type.Unsafe<Completion | Readable>(Completion), ...bodyErrors, 429),
      },
    },
    async ({ body, client, log }, reply) => {
      const abandoned = abandonment(reply)
      const generation = models.pick(body.model)
      const options = body.stream_options ?? {}
      const asked = choicesOf(body, generation, limits, {
        client,
        buffered: !body.stream,
        reportSteps: options.include_refinement ?? false,
      })
      const underway = await start(parts, generation, asked, abandoned)
      if (!body.stream) return complete(underway)
      const stream = await streamCompletion(underway, options, log)
      void reply.header('x-completion-id', underway.head.id)
      return sendEvents(reply, stream)
    },
  )
}

/** `POST /v1/completions`: whole, or as a stream of events. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { choicesOf } from '../choices.js'
import { streamCompletion } from '../completion-stream.js'
import { complete, start } from '../completion.js'
import { sendEvents } from '../event-stream.js'
import type { App } from '../application.js'
import type { Parts } from '../parts.js'
import { abandonment } from '../runs.js'
import { Completion, CompletionRequest } from '../schemas/completion.js'
import { bodyErrors, replies } from '../schemas/replies.js'

export function completionRoutes(app: App, parts: Parts): void {
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

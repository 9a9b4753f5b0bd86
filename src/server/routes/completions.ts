/** `POST /v1/completions`: whole, or as a stream of events. */
import type { Readable } from 'node:stream'
import { Type } from 'typebox'
import { choicesOf } from '../choices.js'
import { streamCompletion } from '../completion-stream.js'
import { complete, start } from '../completion.js'
import type { App, Parts } from '../parts.js'
import { abandonment } from '../runs.js'
import { Completion, CompletionRequest } from '../schemas/completion.js'
import { bodyErrors, replies } from '../schemas/replies.js'

export function completionRoutes(app: App, { admission, models, limits }: Parts): void {
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
        reportSteps: options.include_refinement ?? false,
      })
      const underway = start(generation, asked, admission, abandoned)
      if (!body.stream) return complete(underway)
      const stream = await streamCompletion(underway, options, log)
      void reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no')
      return reply.type('text/event-stream; charset=utf-8').send(stream)
    },
  )
}

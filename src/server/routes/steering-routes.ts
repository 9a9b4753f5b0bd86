/** `finish` and `extend`: end the answers of a running request early, or let them descend longer. */
import { Type } from 'typebox'
import type { App, AppContext } from '../context.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { exact, extension } from '../schemas/settings-schema.js'

const Steered = Type.Object({
  id: Type.String(),
  object: Type.Literal('steering'),
  action: Type.Union([Type.Literal('finish'), Type.Literal('extend')]),
  choices: Type.Integer({ description: 'how many choices were still running' }),
})

/** What runs, by its path and by its name in operation ids. */
const steerable = [
  ['completions', 'Completion'],
  ['chat/completions', 'ChatCompletion'],
  ['responses', 'Response'],
] as const

const Extension = Type.Object(extension, {
  ...exact,
  minProperties: 1,
  description: "added to the limits of the present answer; the operator's caps bind the sum",
})

export function steeringRoutes(app: App, { running }: Pick<AppContext, 'running'>): void {
  const tags = ['steering']
  const params = Type.Object({ id: Type.String() })
  for (const [resource, noun] of steerable) {
    app.post(
      `/v1/${resource}/:id/finish`,
      {
        schema: {
          operationId: `finish${noun}`,
          summary: 'End with the best answer so far',
          description: 'The answer that descends now settles with its best, and is the last one.',
          tags,
          params,
          response: replies(Steered, ...bodyErrors),
        },
      },
      async ({ owner, params: { id } }) => {
        const choices = await running.finish(id, owner)
        return { id, object: 'steering' as const, action: 'finish' as const, choices }
      },
    )
    app.post(
      `/v1/${resource}/:id/extend`,
      {
        schema: {
          operationId: `extend${noun}`,
          summary: 'Let the present answer descend longer',
          tags,
          params,
          body: Extension,
          response: replies(Steered, ...bodyErrors),
        },
      },
      async ({ body, owner, params: { id } }) => {
        const choices = await running.extend(id, owner, body)
        return { id, object: 'steering' as const, action: 'extend' as const, choices }
      },
    )
  }
}

/** `finish` and `extend`: a word to an answer that is under way. */
import { Type } from 'typebox'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

const Steered = Type.Object({
  id: Type.String(),
  object: Type.Literal('steering'),
  action: Type.Union([Type.Literal('finish'), Type.Literal('extend')]),
  choices: Type.Integer({ description: 'how many choices were still under way, and heard it' }),
})

const Extension = Type.Object(
  {
    steps: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
    seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 2 ** 31 - 1 })),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: "added to the limits of the present answer; the operator's caps bind the sum",
  },
)

export function steeringRoutes(app: App, { owner, steering }: AppContext): void {
  const tags = ['text']
  const params = Type.Object({ id: Type.String() })
  for (const resource of ['completions', 'chat/completions', 'responses']) {
    app.post(
      `/v1/${resource}/:id/finish`,
      {
        schema: {
          summary: 'Give me the best that you have now',
          description: 'The present answer is the last: it settles with the best it has.',
          tags,
          params,
          response: replies(Steered, ...bodyErrors),
        },
      },
      async ({ client, params: { id } }) => {
        const choices = await steering.finish(id, owner(client))
        return { id, object: 'steering' as const, action: 'finish' as const, choices }
      },
    )
    app.post(
      `/v1/${resource}/:id/extend`,
      {
        schema: {
          summary: 'Think longer about the present answer',
          tags,
          params,
          body: Extension,
          response: replies(Steered, ...bodyErrors),
        },
      },
      async ({ body, client, params: { id } }) => {
        const choices = await steering.extend(id, owner(client), body)
        return { id, object: 'steering' as const, action: 'extend' as const, choices }
      },
    )
  }
}

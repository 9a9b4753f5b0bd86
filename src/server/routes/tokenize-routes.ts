/** `/v1/tokenize` and `/v1/detokenize`: text as a model's tokens, and back. Its worker does it. */
import { Type } from 'typebox'
import type { App } from '../context.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { exact, settings, Token } from '../schemas/settings-schema.js'

const { model } = settings

export function tokenizeRoutes(app: App): void {
  const tags = ['tokens']
  const Tokens = Type.Object({ model: Type.String(), tokens: Type.Array(Token), count: Token })
  app.post(
    '/v1/tokenize',
    {
      schema: {
        operationId: 'tokenize',
        summary: 'Text to tokens',
        tags,
        body: Type.Object({ model, text: Type.String() }, exact),
        response: replies(Tokens, ...bodyErrors),
      },
    },
    async ({ body, engine }) => {
      const tokens = [...(await engine.tokenize(body.text))]
      return { model: engine.model.name, tokens, count: tokens.length }
    },
  )
  app.post(
    '/v1/detokenize',
    {
      schema: {
        operationId: 'detokenize',
        summary: 'Tokens to text',
        tags,
        body: Type.Object({ model, tokens: Type.Array(Token) }, exact),
        response: replies(
          Type.Object({ model: Type.String(), text: Type.String() }),
          ...bodyErrors,
        ),
      },
    },
    async ({ body, engine }) => ({
      model: engine.model.name,
      text: await engine.detokenize(body.tokens),
    }),
  )
}

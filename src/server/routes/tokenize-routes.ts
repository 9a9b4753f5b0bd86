/** `/v1/tokenize` and `/v1/detokenize`: text as a model's tokens, and back, in a thread for texts. */
import { Type } from 'typebox'
import type { App, AppContext } from '../context.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { exact, settings, Token } from '../schemas/settings-schema.js'

const { model } = settings

/** Of one request: what takes a few hundredths of a second. */
const MOST_CHARACTERS = 262_144
const MOST_TOKENS = 65_536

export function tokenizeRoutes(app: App, { requests }: Pick<AppContext, 'requests'>): void {
  const tags = ['tokens']
  const Tokens = Type.Object({ model: Type.String(), tokens: Type.Array(Token), count: Token })
  app.post(
    '/v1/tokenize',
    {
      schema: {
        operationId: 'tokenize',
        summary: 'Text to tokens',
        tags,
        body: Type.Object({ model, text: Type.String({ maxLength: MOST_CHARACTERS }) }, exact),
        response: replies(Tokens, ...bodyErrors, 429),
      },
    },
    async ({ body, client, engine }) => {
      await requests.enter(client)
      const tokens = [...(await engine.tokenize(body.text, client))]
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
        body: Type.Object({ model, tokens: Type.Array(Token, { maxItems: MOST_TOKENS }) }, exact),
        response: replies(
          Type.Object({ model: Type.String(), text: Type.String() }),
          ...bodyErrors,
          429,
        ),
      },
    },
    async ({ body, client, engine }) => {
      await requests.enter(client)
      return { model: engine.model.name, text: await engine.detokenize(body.tokens, client) }
    },
  )
}

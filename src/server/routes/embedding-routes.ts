/** `POST /v1/embeddings`: texts as vectors. */
import { embed, representationOf } from '../openai/text-embeddings.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment } from '../requests/request-observer.js'
import { EmbeddingRequest, Embeddings } from '../schemas/embedding-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function embeddingRoutes(app: App, parts: AppContext): void {
  app.post(
    '/v1/embeddings',
    {
      schema: {
        summary: 'Texts as vectors: mean states, or settled answers',
        tags: ['text'],
        body: EmbeddingRequest,
        response: replies(Embeddings, ...bodyErrors, 429),
      },
    },
    async ({ body, client }, reply) => {
      const generation = parts.models.pick(body.model)
      const { tokens, vectors } = await embed(parts, body, generation, client, abandonment(reply))
      return {
        object: 'list' as const,
        model: generation.model.name,
        representation: representationOf(generation.model, body.representation),
        data: vectors.map((embedding, index) => ({
          object: 'embedding' as const,
          index,
          embedding,
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      }
    },
  )
}

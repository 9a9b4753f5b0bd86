/** `POST /v1/embeddings`: texts as vectors. */
import { embed, representationOf } from '../embeddings.js'
import type { App } from '../application.js'
import type { Parts } from '../parts.js'
import { abandonment } from '../runs.js'
import { EmbeddingRequest, Embeddings } from '../schemas/embeddings.js'
import { bodyErrors, replies } from '../schemas/replies.js'

export function embeddingRoutes(app: App, parts: Parts): void {
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

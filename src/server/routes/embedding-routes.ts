/** `POST /v1/embeddings`: texts as vectors. */
import type { App, AppContext } from '../context.js'
import { embedTexts } from '../openai/text-embeddings.js'
import { EmbeddingRequest, Embeddings } from '../schemas/embedding-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function embeddingRoutes(app: App, context: AppContext): void {
  app.post(
    '/v1/embeddings',
    {
      schema: {
        operationId: 'createEmbedding',
        summary: 'Texts as vectors: mean states, or settled answers',
        tags: ['text'],
        body: EmbeddingRequest,
        response: replies(Embeddings, ...bodyErrors, 429),
      },
    },
    (request) => embedTexts(context, request, request.body),
  )
}

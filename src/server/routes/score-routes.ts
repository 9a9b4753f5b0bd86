/** `/v1/score` and `/v1/rerank`: how well given answers fit, by their energy. */
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment } from '../requests/request-observer.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { Reranked, RerankRequest, ScoreRequest, Scores } from '../schemas/score-schema.js'
import { measureOf, scoresOf } from '../basin/scoring.js'
import { usageFields } from '../event-fields.js'

export function scoreRoutes(app: App, { admission, limits, models }: AppContext): void {
  const tags = ['text']
  app.post(
    '/v1/score',
    {
      schema: {
        summary: 'The energies of given answers, in total and part by part',
        tags,
        body: ScoreRequest,
        response: replies(Scores, ...bodyErrors, 429),
      },
    },
    async ({ body, client }, reply) => {
      const generation = models.pick(body.model)
      const { answers, prompt } = body
      const by = measureOf(generation.model, body.by)
      const { scores, tokens } = await scoresOf(
        {
          ...{ generation, prompt: prompt ?? '', answers, param: 'answers', by },
          ...{ budget: body, route: 'score', client },
        },
        limits,
        admission,
        abandonment(reply),
      )
      return {
        object: 'list' as const,
        model: generation.model.name,
        by,
        data: scores,
        usage: usageFields(tokens, 0),
      }
    },
  )
  app.post(
    '/v1/rerank',
    {
      schema: {
        summary: 'Documents in the order in which they fit a query',
        description: 'A document is read after the query; its rank is its energy per token.',
        tags,
        body: RerankRequest,
        response: replies(Reranked, ...bodyErrors, 429),
      },
    },
    async ({ body, client }, reply) => {
      const generation = models.pick(body.model)
      const by = measureOf(generation.model, body.by)
      const texts = body.documents.map((each) => (typeof each === 'string' ? each : each.text))
      const { scores, tokens } = await scoresOf(
        {
          ...{ generation, prompt: body.query, answers: texts, param: 'documents', by },
          ...{ budget: body, route: 'rerank', client },
        },
        limits,
        admission,
        abandonment(reply),
      )
      const ranked = scores
        .map(({ energy_per_token: energy, index }) => ({
          index,
          relevance_score: by === 'readout' ? Math.exp(-energy) : 1 / (1 + Math.exp(energy)),
          ...(body.return_documents !== false && { document: { text: texts[index] ?? '' } }),
        }))
        .sort((a, b) => b.relevance_score - a.relevance_score)
      return {
        model: generation.model.name,
        by,
        results: ranked.slice(0, body.top_n ?? ranked.length),
        usage: usageFields(tokens, 0),
      }
    },
  )
}

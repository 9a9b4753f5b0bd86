/** `/v1/score` and `/v1/rerank`: how well given answers fit, by their energy. */
import { rankDocuments, scoreAnswers } from '../basin/scoring.js'
import type { App, AppContext } from '../context.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { Reranked, RerankRequest, ScoreRequest, Scores } from '../schemas/score-schema.js'

export function scoreRoutes(app: App, context: AppContext): void {
  const tags = ['energy']
  app.post(
    '/v1/score',
    {
      schema: {
        operationId: 'createScore',
        summary: 'The energies of given answers, in total and part by part',
        tags,
        body: ScoreRequest,
        response: replies(Scores, ...bodyErrors, 429),
      },
    },
    (request) => scoreAnswers(context, request, request.body),
  )
  app.post(
    '/v1/rerank',
    {
      schema: {
        operationId: 'createRerank',
        summary: 'Documents in the order in which they fit a query',
        description: 'A document is scored as the answer to the query, by its energy per token.',
        tags,
        body: RerankRequest,
        response: replies(Reranked, ...bodyErrors, 429),
      },
    },
    (request) => rankDocuments(context, request, request.body),
  )
}

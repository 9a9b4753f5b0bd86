/** `POST /v1/landscape`: energies along lines around a settled answer. */
import { landscapeAround } from '../basin/answer-landscape.js'
import type { App, AppContext } from '../context.js'
import { LandscapeReply, LandscapeRequest } from '../schemas/landscape-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'

export function landscapeRoutes(app: App, context: AppContext): void {
  app.post(
    '/v1/landscape',
    {
      schema: {
        operationId: 'createLandscape',
        summary: 'The energy along lines around a settled answer',
        description: 'Computed while the engine has little or nothing else to do.',
        tags: ['energy'],
        body: LandscapeRequest,
        response: replies(LandscapeReply, ...bodyErrors, 429),
      },
    },
    (request) => landscapeAround(context, request, request.body),
  )
}

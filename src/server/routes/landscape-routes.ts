/** `POST /v1/landscape`: energies along lines around a settled answer. Low-priority work. */
import { BasinError } from '../../errors.js'
import type { Of, ProbeLine, ProbeRequest } from '../../generation/protocol.js'
import { requestFrom } from '../requests/request-settings.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { abandonment, cancelAll, endWith, follow } from '../requests/request-observer.js'
import { LandscapeReply, LandscapeRequest } from '../schemas/landscape-schema.js'
import { bodyErrors, replies } from '../schemas/reply-schema.js'
import { usageFields } from '../event-fields.js'

/** Most evaluations of the energy for one request. */
const EVALUATIONS = 4096

function surveyOf(body: LandscapeRequest, candidates: number): ProbeRequest {
  const { points = 33, random = 2, reach = 1.5 } = body
  const directions = body.directions ?? ['candidates', 'gradient', 'random']
  const lines =
    (directions.includes('candidates') ? candidates - 1 : 0) +
    (directions.includes('gradient') ? 1 : 0) +
    (directions.includes('random') ? random : 0)
  if (lines * points <= EVALUATIONS) return { directions, points, random, reach }
  const bound = `such that lines x points are at most ${EVALUATIONS}`
  throw new BasinError('out_of_range', { param: 'points', bound, value: lines * points })
}

/** JSON knows finite numbers only. */
const legible = ({ energies, ...line }: ProbeLine) => ({
  ...line,
  energies: energies.map((energy) => (Number.isFinite(energy) ? energy : null)),
})

export function landscapeRoutes(app: App, { admission, limits, models }: AppContext): void {
  app.post(
    '/v1/landscape',
    {
      schema: {
        summary: 'The energy along lines around a settled answer',
        description: 'Computed in ticks that have nothing else to do, or few.',
        tags: ['text'],
        body: LandscapeRequest,
        response: replies(LandscapeReply, ...bodyErrors, 429),
      },
    },
    async ({ body, client }, reply) => {
      const generation = models.pick(body.model)
      const { model } = generation
      if (model.answer.normalize === 'first_step') {
        const reason = `${model.name} normalises first steps only`
        throw new BasinError('not_supported', { param: 'model', reason })
      }
      const { prompt, reasoning_effort, refinement, seed, template } = body
      const job = requestFrom(
        {
          ...{ temperature: 0, max_tokens: model.answer.block, seed: seed ?? 0 },
          ...{ reasoning_effort: reasoning_effort ?? null, refinement: refinement ?? null },
          ...(typeof template === 'string' && { template }),
        },
        model,
        limits.caps,
      )
      const survey = surveyOf(body, job.budget.candidates)
      const asked = {
        ...job,
        survey,
        prompt: prompt ?? '',
        client,
        reportSteps: false,
        hold: false,
      }
      const abandoned = abandonment(reply)
      const runs = await endWith(abandoned, () => admission.submit(generation, [asked]))
      const [run] = runs
      if (!run) throw new BasinError('internal')
      let lines: readonly ProbeLine[] = []
      let finished: Of<'finished'> | undefined
      try {
        for await (const event of follow(run, admission.ledger(generation, client, 'landscape'))) {
          if (event.type === 'probed') lines = event.lines
          if (event.type === 'finished') finished = event
        }
      } finally {
        cancelAll(runs)
      }
      if (!finished || finished.finishReason === 'cancelled') throw new BasinError('cancelled')
      const { completionTokens, promptTokens } = finished.usage
      return {
        object: 'landscape' as const,
        model: model.name,
        text: finished.text,
        lines: lines.map(legible),
        refinement: finished.refinement,
        usage: usageFields(promptTokens, completionTokens),
      }
    },
  )
}

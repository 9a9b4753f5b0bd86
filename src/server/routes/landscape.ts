/** `POST /v1/landscape`: energies along lines around a settled answer. Low-priority work. */
import { BasinError } from '../../errors.js'
import type { Of, SurveyLine, SurveyPlane, SurveyRequest } from '../../generation/protocol.js'
import { jobOf } from '../job.js'
import type { App } from '../application.js'
import type { Parts } from '../parts.js'
import { abandonment, cancelAll, endWith, follow } from '../runs.js'
import { LandscapeReply, LandscapeRequest } from '../schemas/landscape.js'
import { bodyErrors, replies } from '../schemas/replies.js'
import { usageOf } from '../wire.js'

/** Most evaluations of the energy for one request. */
const EVALUATIONS = 4096
/** Along each side of a plane. */
const PLANE_POINTS = 25

function surveyOf(body: LandscapeRequest, candidates: number): SurveyRequest {
  const { points = 33, random = 2, reach = 1.5 } = body
  const directions = body.directions ?? ['candidates', 'gradient', 'random']
  const lines =
    (directions.includes('candidates') ? candidates - 1 : 0) +
    (directions.includes('gradient') ? 1 : 0) +
    (directions.includes('random') ? random : 0)
  const plane = body.plane && { plane: { points: body.plane.points ?? PLANE_POINTS } }
  if (lines * points <= EVALUATIONS) return { directions, points, random, reach, ...plane }
  const bound = `such that lines x points are at most ${EVALUATIONS}`
  throw new BasinError('out_of_range', { param: 'points', bound, value: lines * points })
}

/** JSON knows finite numbers only. */
const legible = (energy: number): number | null => (Number.isFinite(energy) ? energy : null)

const legibleLine = ({ energies, ...line }: SurveyLine) => ({
  ...line,
  energies: energies.map(legible),
})

const legiblePlane = ({ energies, path, ...plane }: SurveyPlane) => ({
  ...plane,
  energies: energies.map((row) => row.map(legible)),
  path: path.map(({ energy, x, y }) => ({ x, y, energy: legible(energy) })),
})

export function landscapeRoutes(app: App, { admission, limits, models }: Parts): void {
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
      const job = jobOf(
        {
          ...{ temperature: 0, max_tokens: model.answer.block, seed: seed ?? 0 },
          ...{ reasoning_effort: reasoning_effort ?? null, refinement: refinement ?? null },
          ...(typeof template === 'string' && { template }),
        },
        model,
        limits.caps,
      )
      if (body.plane && job.budget.lineSearch) {
        const reason = 'the path of a line search is not kept'
        throw new BasinError('not_supported', { param: 'plane', reason })
      }
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
      let lines: readonly SurveyLine[] = []
      let plane: SurveyPlane | undefined
      let finished: Of<'finished'> | undefined
      try {
        for await (const event of follow(run, admission.ledger(generation, client, 'landscape'))) {
          if (event.type === 'surveyed') ({ lines, plane } = event)
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
        lines: lines.map(legibleLine),
        ...(plane && { plane: legiblePlane(plane) }),
        refinement: finished.refinement,
        usage: usageOf(promptTokens, completionTokens),
      }
    },
  )
}

/**
 * The energy along lines around a settled answer: from the body of a request to what an engine is asked, and
 * from what it found to the reply. Imports nothing that a browser lacks, because the page asks the engine in
 * its tab the same.
 */
import { BasinError } from '../../errors.js'
import type {
  EngineRequest,
  Of,
  ProbeLine,
  ProbePlane,
  ProbeRequest,
} from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import { usageFields } from '../event-fields.js'
import type { Limits } from '../limits.js'
import { requestFrom } from '../requests/request-settings.js'
import type { LandscapeReply, LandscapeRequest } from '../schemas/landscape-schema.js'

/** Of the energy, for one request. */
const MOST_EVALUATIONS = 4096
/** Points along each side of a plane, if the request does not say. */
const PLANE_POINTS = 25

function probeOf(body: LandscapeRequest, candidates: number): ProbeRequest {
  const { points = 33, random = 2, reach = 1.5 } = body
  const directions = body.directions ?? ['candidates', 'gradient', 'random']
  const lines =
    (directions.includes('candidates') ? candidates - 1 : 0) +
    (directions.includes('gradient') ? 1 : 0) +
    (directions.includes('random') ? random : 0)
  const plane = body.plane && { plane: { points: body.plane.points ?? PLANE_POINTS } }
  if (lines * points <= MOST_EVALUATIONS) return { directions, points, random, reach, ...plane }
  const bound = `such that lines x points are at most ${MOST_EVALUATIONS}`
  throw new BasinError('out_of_range', { param: 'points', bound, value: lines * points })
}

/** JSON has finite numbers only. */
const finiteOrNull = (energy: number): number | null => (Number.isFinite(energy) ? energy : null)

const lineReply = ({ energies, ...line }: ProbeLine) => ({
  ...line,
  energies: energies.map(finiteOrNull),
})

const planeReply = ({ energies, path, ...plane }: ProbePlane) => ({
  ...plane,
  energies: energies.map((row) => row.map(finiteOrNull)),
  path: path.map(({ energy, x, y }) => ({ x, y, energy: finiteOrNull(energy) })),
})

/** Throws `not_supported` and `out_of_range`. */
export function probeRequestFrom(
  body: LandscapeRequest,
  model: ModelConfig,
  limits: Pick<Limits, 'caps' | 'terms'>,
): Omit<EngineRequest, 'id' | 'client'> {
  if (model.answer.normalize === 'first_step') {
    const reason = `${model.name} normalises first steps only`
    throw new BasinError('not_supported', { param: 'model', reason })
  }
  const { prompt, reasoning_effort = null, seed, template } = body
  for (const field of ['restarts', 'commit'] as const)
    if (body.refinement?.[field]) {
      const reason = 'lines are drawn between candidates that descend once each'
      throw new BasinError('not_supported', { param: `refinement.${field}`, reason })
    }
  const refinement = { ...body.refinement, restarts: null }
  const settings = {
    reasoning_effort,
    refinement,
    temperature: 0,
    max_tokens: model.answer.block,
    seed: seed ?? 0,
    ...(typeof template === 'string' && { template }),
  }
  const request = requestFrom(settings, model, limits)
  if (body.plane && request.budget.lineSearch) {
    const reason = 'the path of a line search is not kept'
    throw new BasinError('not_supported', { param: 'plane', reason })
  }
  const probe = probeOf(body, request.budget.candidates)
  return { ...request, probe, prompt: prompt ?? '', reportSteps: false, hold: false }
}

/** Throws `cancelled` where the answer was. */
export function landscapeReply(
  model: string,
  { lines, plane }: Pick<Of<'probed'>, 'lines' | 'plane'>,
  finished: Of<'finished'> | undefined,
): LandscapeReply {
  if (!finished || finished.finishReason === 'cancelled') throw new BasinError('cancelled')
  const { refinement, text, usage } = finished
  return {
    object: 'landscape',
    model,
    text,
    lines: lines.map(lineReply),
    ...(plane && { plane: planeReply(plane) }),
    refinement,
    usage: usageFields(usage.promptTokens, usage.completionTokens),
  }
}

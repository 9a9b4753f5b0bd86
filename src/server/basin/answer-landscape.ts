/** The energy along lines around a settled answer. */
import { BasinError } from '../../errors.js'
import type { Of, ProbeLine, ProbePlane, ProbeRequest } from '../../generation/protocol.js'
import type { AppContext } from '../context.js'
import type { Requester } from '../requests/requester.js'
import { usageFields } from '../event-fields.js'
import { requestFrom } from '../requests/request-settings.js'
import { followAll } from '../requests/request-service.js'
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

export async function landscapeAround(
  { limits, requests }: Pick<AppContext, 'limits' | 'requests'>,
  { client, disconnected: signal, engine }: Requester,
  body: LandscapeRequest,
): Promise<LandscapeReply> {
  const { model } = engine
  if (model.answer.normalize === 'first_step') {
    const reason = `${model.name} normalises first steps only`
    throw new BasinError('not_supported', { param: 'model', reason })
  }
  const { prompt, reasoning_effort = null, seed, template } = body
  if (body.refinement?.restarts) {
    const reason = 'lines are drawn between candidates that descend once each'
    throw new BasinError('not_supported', { param: 'refinement.restarts', reason })
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
  const request = requestFrom(settings, model, limits.caps)
  if (body.plane && request.budget.lineSearch) {
    const reason = 'the path of a line search is not kept'
    throw new BasinError('not_supported', { param: 'plane', reason })
  }
  const probe = probeOf(body, request.budget.candidates)
  const submitted = await requests.submit(
    engine,
    [{ ...request, probe, prompt: prompt ?? '', reportSteps: false, hold: false }],
    { client, route: 'landscape', signal },
  )
  let found: Pick<Of<'probed'>, 'lines' | 'plane'> = { lines: [] }
  let finished: Of<'finished'> | undefined
  await followAll(submitted, (event) => {
    if (event.type === 'probed') found = event
    if (event.type === 'finished') finished = event
  })
  return replyOf(model.name, found, finished)
}

function replyOf(
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

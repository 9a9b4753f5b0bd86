/**
 * From what a request says (an effort, a `refinement` object) to the exact budget of each answer,
 * within an operator's caps. Knows of a model only how long it was trained to refine and where its
 * answers start.
 */
import { BasinError } from '../errors.js'
import type { Allocation, Budget, Selection, StepSizeOn } from './budget.js'

export type ReasoningEffort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** The part of a model's configuration that budgets depend on. */
export interface Refinable {
  /** T: steps the model was trained for. */
  readonly steps: number
  /** Where an answer is as good as right. Absent: no energy says so. */
  readonly energy_target?: number
  readonly answer: { readonly start: 'noise' | 'zeros' | 'draft' }
}

/** The `refinement` object of a request. `max_steps: null` asks for no limit on steps. */
export interface RefinementRequest {
  max_steps?: number | null | undefined
  min_steps?: number | undefined
  max_seconds?: number | undefined
  tolerance?: number | undefined
  patience?: number | undefined
  plateau?: number | undefined
  gradient_tolerance?: number | undefined
  energy_target?: number | undefined
  candidates?: number | undefined
  select?: Selection | undefined
  allocation?: Allocation | undefined
  step_size?: number | undefined
  step_size_on?: StepSizeOn | undefined
  noise?: number | undefined
  noise_steps?: number | undefined
  landscape_steps?: number | undefined
  keep?: 'best' | 'last' | undefined
  accept_lower?: boolean | undefined
  line_search?: boolean | undefined
}

/** What an operator allows one answer to cost. */
export interface Caps {
  maxSteps: number
  maxSeconds: number
  candidates: number
}

const TOLERANCE = 1e-3
const PATIENCE = 3
/**
 * In T: hard answers are found after long stretches without a lower energy. Of 32 expert puzzles sudoku9
 * solves 84 % where plateaus of T end the search, 88 % with 4 T and 97 % without (2,048 steps).
 */
const PLATEAU = 16

/**
 * | effort | most steps | ends at rest, or at the model's energy target |
 * |---|---|---|
 * | none | 0 if the model drafts, else 1 | |
 * | minimal | 1 | |
 * | low | T / 2, at least 1 | |
 * | medium (default) | T | |
 * | high | 2 T | tolerance 1e-3 |
 * | xhigh | 4 T | tolerance 1e-3 |
 * | max | unbounded | tolerance 1e-3, plateau 16 T |
 */
export function preset(model: Refinable, effort: ReasoningEffort): Partial<Budget> {
  const trained = model.steps
  const settles: Partial<Budget> = {
    tolerance: TOLERANCE,
    ...(model.energy_target !== undefined && { energyTarget: model.energy_target }),
  }
  switch (effort) {
    case 'none':
      return { maxSteps: model.answer.start === 'draft' ? 0 : 1 }
    case 'minimal':
      return { maxSteps: 1 }
    case 'low':
      return { maxSteps: Math.max(1, Math.floor(trained / 2)) }
    case 'medium':
      return { maxSteps: trained }
    case 'high':
      return { maxSteps: 2 * trained, ...settles }
    case 'xhigh':
      return { maxSteps: 4 * trained, ...settles }
    case 'max':
      return { plateau: PLATEAU * trained, ...settles }
  }
}

interface Bound {
  least: number
  most: number
  integer?: boolean
  /** The least value itself is not allowed. */
  open?: boolean
}

/** Largest magnitude of an energy that can be asked for: float32 sums stay exact to a unit here. */
const ENERGY_RANGE = 2 ** 24

const boundsOf = (model: Refinable, caps: Caps): Record<string, Bound> => ({
  max_steps: {
    least: model.answer.start === 'draft' ? 0 : 1,
    most: caps.maxSteps,
    integer: true,
  },
  min_steps: { least: 0, most: caps.maxSteps, integer: true },
  max_seconds: { least: 0, most: caps.maxSeconds, open: true },
  tolerance: { least: 0, most: 1 },
  patience: { least: 1, most: 1000, integer: true },
  plateau: { least: 1, most: caps.maxSteps, integer: true },
  gradient_tolerance: { least: 0, most: ENERGY_RANGE },
  energy_target: { least: -ENERGY_RANGE, most: ENERGY_RANGE },
  candidates: { least: 1, most: caps.candidates, integer: true },
  step_size: { least: 0, most: 1e6, open: true },
  noise: { least: 0, most: 1000 },
  noise_steps: { least: 0, most: caps.maxSteps, integer: true },
  landscape_steps: { least: 1, most: caps.maxSteps, integer: true },
})

function check(name: string, value: unknown, bound: Bound): void {
  if (typeof value !== 'number') return
  const within = (bound.open ? value > bound.least : value >= bound.least) && value <= bound.most
  if (within && (!bound.integer || Number.isInteger(value))) return
  const kind = bound.integer ? 'an integer' : 'a number'
  const least = bound.open ? `greater than ${bound.least} and` : `from ${bound.least}`
  const most = bound.open ? `at most ${bound.most}` : `to ${bound.most}`
  throw new BasinError('out_of_range', {
    param: `refinement.${name}`,
    bound: `${kind} ${least} ${most}`,
    value,
  })
}

/** Drops absent fields, so that they do not hide the preset's. */
const present = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/**
 * The budget of every answer of a request. A preset over the cap on steps is lowered to it; a
 * number that the request names is refused. An unbounded answer ends by its tolerance or, at the
 * latest, at the cap on seconds, which always binds.
 * Throws `out_of_range` naming `refinement.<field>` and its bound.
 */
export function resolveBudget(
  model: Refinable,
  effort: ReasoningEffort | undefined,
  refinement: RefinementRequest | undefined,
  caps: Caps,
): Budget {
  const asked = refinement ?? {}
  for (const [name, bound] of Object.entries(boundsOf(model, caps))) {
    check(name, asked[name as keyof RefinementRequest], bound)
  }
  const { maxSteps: trained, ...chosen } = preset(model, effort ?? 'medium')
  const capped = trained === undefined ? undefined : Math.min(trained, caps.maxSteps)
  const maxSteps = asked.max_steps === null ? undefined : (asked.max_steps ?? capped)
  const minSteps = asked.min_steps ?? 0
  if (maxSteps !== undefined && minSteps > maxSteps) {
    throw new BasinError('out_of_range', {
      param: 'refinement.min_steps',
      bound: `at most the ${maxSteps} steps allowed`,
      value: minSteps,
    })
  }
  return {
    minSteps,
    maxSeconds: asked.max_seconds ?? caps.maxSeconds,
    patience: asked.patience ?? PATIENCE,
    candidates: asked.candidates ?? 1,
    select: asked.select ?? 'min',
    noise: asked.noise ?? 0,
    keep: asked.keep ?? 'best',
    acceptLower: asked.accept_lower ?? false,
    ...chosen,
    ...present({
      maxSteps,
      tolerance: asked.tolerance,
      plateau: asked.plateau,
      gradientTolerance: asked.gradient_tolerance,
      energyTarget: asked.energy_target,
      stepSize: asked.step_size,
      stepSizeOn: asked.step_size_on,
      noiseSteps: asked.noise_steps,
      landscapeSteps: asked.landscape_steps,
      allocation: asked.allocation,
      lineSearch: asked.line_search,
    }),
  }
}

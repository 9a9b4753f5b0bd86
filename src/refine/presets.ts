/**
 * Turns the `reasoning_effort` and `refinement` of a request into the budget of each answer, within the
 * operator's caps. Of a model it knows only its number of trained steps, its energy target and where
 * its answers start.
 */
import { BasinError } from '../errors.js'
import type {
  Allocation,
  Budget,
  Commit,
  RestartPolicy,
  Restarts,
  Selection,
  StepSizeOn,
} from './budget.js'

export type ReasoningEffort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** The part of a model's configuration that budgets depend on. */
export interface Refinable {
  /** T: steps the model was trained for. */
  readonly steps: number
  /** Answers at or below this energy are almost always right. Absent: no such energy is known. */
  readonly energy_target?: number
  readonly answer: { readonly start: 'noise' | 'zeros' | 'draft' }
  /** Answers commit their positions evenly over their steps, this many steps after each other. */
  readonly commit?: { readonly after: number }
}

/** The `restarts` object of a request. `most: null` asks for no limit on restarts. */
export interface RestartsRequest {
  after?: number | 'plateau' | undefined
  keep?: number | undefined
  most?: number | null | undefined
  policy?: RestartPolicy | undefined
}

/** The `commit` object of a request: one of `share` and `count`. */
export interface CommitRequest {
  share?: number | undefined
  count?: number | undefined
  /** Which positions are most certain. There is one measure. */
  by?: 'entropy' | undefined
  draw?: Commit['draw'] | undefined
  after?: number | undefined
  reopen?: boolean | undefined
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
  /** null: none, whatever the effort. */
  restarts?: RestartsRequest | null | undefined
  /** null: none, whatever the model. */
  commit?: CommitRequest | null | undefined
  step_size?: number | undefined
  step_size_on?: StepSizeOn | undefined
  noise?: number | undefined
  noise_steps?: number | undefined
  landscape_steps?: number | undefined
  keep?: 'best' | 'last' | undefined
  accept_lower?: boolean | undefined
  line_search?: boolean | undefined
  metropolis?: number | undefined
}

/** The operator's caps on one answer. */
export interface Caps {
  maxSteps: number
  maxSeconds: number
  candidates: number
}

const EFFORT_TOLERANCE = 1e-3
const DEFAULT_PATIENCE_STEPS = 3
/**
 * The `plateau` of the effort `max`, in units of T. It is long because hard answers are found after many
 * steps without a lower energy: of 32 expert puzzles the first weights of sudoku9 solve 84 % where a plateau
 * of T steps ends the search, 88 % with 4 T and 97 % without one (2,048 steps).
 */
const PLATEAU_IN_TRAINED_STEPS = 16

/** Candidates at a time where descents begin anew, if the request does not say: more hardly step faster together. */
const RESTART_CANDIDATES = 8
/**
 * Steps that the first descent of `mixed` has for itself, in units of T. One descent of T / 2 steps solves 0.3 to 2.3
 * points less of the harder splits of the shipped models than one of T steps (docs/research-log.md).
 */
const ALONE_IN_TRAINED_STEPS = 0.5
/** Most steps of the efforts `high` and `xhigh` where descents begin anew, in units of T. */
const HIGH_SEARCH_STEPS = 8
const XHIGH_SEARCH_STEPS = 64

/**
 * The budget of each effort. `searches`: descents begin anew until one reaches the energy target, so that more
 * steps are of use.
 *
 * | effort | most steps | ends earlier: converged, or at the model's energy target | most steps if it searches |
 * |---|---|---|---|
 * | none | 0 if the model drafts, else 1 | | |
 * | minimal | 1 | | |
 * | low | T / 2, at least 1 | | |
 * | medium (default) | T | | |
 * | high | 2 T | tolerance 1e-3 | 8 T |
 * | xhigh | 4 T | tolerance 1e-3 | 64 T |
 * | max | unbounded | tolerance 1e-3, plateau 16 T | unbounded |
 */
export function preset(
  model: Refinable,
  effort: ReasoningEffort,
  searches = false,
): Partial<Budget> {
  const trained = model.steps
  const endsEarly: Partial<Budget> = {
    tolerance: EFFORT_TOLERANCE,
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
      return { maxSteps: (searches ? HIGH_SEARCH_STEPS : 2) * trained, ...endsEarly }
    case 'xhigh':
      return { maxSteps: (searches ? XHIGH_SEARCH_STEPS : 4) * trained, ...endsEarly }
    case 'max':
      return searches ? endsEarly : { plateau: PLATEAU_IN_TRAINED_STEPS * trained, ...endsEarly }
  }
}

const searchingEfforts: readonly (ReasoningEffort | undefined)[] = ['high', 'xhigh', 'max']

/**
 * The restarts of a request: those it asks for, or those of an effort from `high` on, which searches where the
 * model has an energy target and the request does not say how its candidates are to share their steps.
 */
function resolveRestarts(
  model: Refinable,
  effort: ReasoningEffort | undefined,
  asked: RefinementRequest,
  caps: Caps,
): { restarts: Restarts; candidates: number } | undefined {
  const { allocation, candidates, restarts } = asked
  if (restarts === null) return undefined
  if (restarts === undefined) {
    const searches = searchingEfforts.includes(effort) && model.energy_target !== undefined
    if (!searches || allocation !== undefined || candidates !== undefined || asked.commit)
      return undefined
  }
  const { after = model.steps, keep, most, policy = 'mixed' } = restarts ?? {}
  if (candidates !== undefined && keep !== undefined && candidates !== keep) {
    const reason = `it must be the number of candidates, ${candidates}, or be left out`
    throw new BasinError('invalid_request', { param: 'refinement.restarts.keep', reason })
  }
  return {
    candidates: keep ?? candidates ?? Math.min(RESTART_CANDIDATES, caps.candidates),
    restarts: {
      after,
      policy,
      alone: policy === 'mixed' ? Math.ceil(ALONE_IN_TRAINED_STEPS * model.steps) : 0,
      ...(typeof most === 'number' && { most }),
    },
  }
}

/** Each candidate descends once, from where the model's answers begin; but they share the steps. */
const noRestarts: Restarts = {
  after: Number.MAX_SAFE_INTEGER,
  most: 0,
  policy: 'model',
  alone: 0,
}

function resolveCommit(model: Refinable, asked: CommitRequest): Commit {
  const { after = model.steps, count, draw = 'most', reopen, share } = asked
  if ((count === undefined) === (share === undefined)) {
    const reason = 'one of share and count is needed: how many positions are committed at a time'
    throw new BasinError('invalid_request', { param: 'refinement.commit', reason })
  }
  return {
    ...(count === undefined ? { share: share as number } : { count }),
    draw,
    after,
    reopen: reopen ?? draw === 'sample',
  }
}

/** The commits of a model that has some, where the request leaves them to it: evenly over the steps of the answer. */
function ownCommit(
  { commit, steps: trained }: Refinable,
  { allocation, commit: asked, restarts }: RefinementRequest,
  maxSteps: number = HIGH_SEARCH_STEPS * trained,
): Commit | undefined {
  if (!commit || asked === null || allocation !== undefined || restarts) return undefined
  const share = Math.min(1, commit.after / Math.max(1, maxSteps))
  return { share, draw: 'temperature', after: commit.after, reopen: false }
}

interface Bound {
  least: number
  most: number
  integer?: boolean
  /** `least` itself is not allowed. */
  open?: boolean
}

/** The largest magnitude of an energy in a request: up to here float32 represents every integer. */
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
  metropolis: { least: 0, most: ENERGY_RANGE, open: true },
})

const commitBoundsOf = (caps: Caps): Record<string, Bound> => ({
  share: { least: 0, most: 1, open: true },
  count: { least: 1, most: caps.maxSteps, integer: true },
  after: { least: 1, most: caps.maxSteps, integer: true },
})

const restartBoundsOf = (caps: Caps): Record<string, Bound> => ({
  after: { least: 1, most: caps.maxSteps, integer: true },
  keep: { least: 1, most: caps.candidates, integer: true },
  most: { least: 0, most: caps.maxSteps, integer: true },
})

function check(param: string, value: unknown, bound: Bound): void {
  if (typeof value !== 'number') return
  const within = (bound.open ? value > bound.least : value >= bound.least) && value <= bound.most
  if (within && (!bound.integer || Number.isInteger(value))) return
  const kind = bound.integer ? 'an integer' : 'a number'
  const least = bound.open ? `greater than ${bound.least} and` : `from ${bound.least}`
  const most = bound.open ? `at most ${bound.most}` : `to ${bound.most}`
  throw new BasinError('out_of_range', {
    param,
    bound: `${kind} ${least} ${most}`,
    value,
  })
}

/** Checks the numbers among the fields of one object of a request; `param`: that object. */
function checkAll(param: string, asked: object, bounds: Record<string, Bound>): void {
  const values = new Map<string, unknown>(Object.entries(asked))
  for (const [name, bound] of Object.entries(bounds))
    check(`${param}.${name}`, values.get(name), bound)
}

/** Leaves out absent fields, so that they do not replace those of the preset. */
const present = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/**
 * The budget of every answer of a request. Where a preset exceeds the cap on steps it is lowered to the
 * cap; where a field of the request does, the request is refused. The cap on seconds always binds, so
 * an answer without a limit on steps ends too.
 * Throws `out_of_range` naming `refinement.<field>` and its bound.
 */
export function resolveBudget(
  model: Refinable,
  effort: ReasoningEffort | undefined,
  refinement: RefinementRequest | undefined,
  caps: Caps,
): Budget {
  const asked = refinement ?? {}
  checkAll('refinement', asked, boundsOf(model, caps))
  checkAll('refinement.restarts', asked.restarts ?? {}, restartBoundsOf(caps))
  checkAll('refinement.commit', asked.commit ?? {}, commitBoundsOf(caps))
  if (asked.allocation === 'adaptive' && (asked.restarts ?? asked.commit)) {
    const reason = 'it cannot be adaptive with restarts or commit, whose candidates share all steps'
    throw new BasinError('invalid_request', { param: 'refinement.allocation', reason })
  }
  const search = resolveRestarts(model, effort, asked, caps)
  const { maxSteps: trained, ...chosen } = preset(model, effort ?? 'medium', search !== undefined)
  const capped = trained === undefined ? undefined : Math.min(trained, caps.maxSteps)
  const maxSteps = asked.max_steps === null ? undefined : (asked.max_steps ?? capped)
  const commit = asked.commit
    ? resolveCommit(model, asked.commit)
    : ownCommit(model, asked, maxSteps)
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
    patience: asked.patience ?? DEFAULT_PATIENCE_STEPS,
    candidates: search?.candidates ?? asked.candidates ?? 1,
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
      metropolis: asked.metropolis,
      restarts: search?.restarts ?? (commit && noRestarts),
      commit,
    }),
  }
}

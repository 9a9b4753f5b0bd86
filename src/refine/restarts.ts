/**
 * When a descent of an answer is over and gives its slot to a new one, and where the new one begins. Every
 * policy is a pure function of the answer's seed, the number of the descent and energies that were seen, so
 * that an answer is the same whatever else runs. Knows no engine and no clock.
 *
 * Descents are numbered in the order in which they begin: 0 to M - 1 are the first ones of M candidates.
 */
import type { Budget, Restarts } from './budget.js'
import { normals, uniform } from './random.js'
import { converged, type Progress } from './stop.js'

/** Why a descent was given up. */
export const restartReasons = ['steps', 'converged', 'diverged'] as const
export type RestartReason = (typeof restartReasons)[number]

/** Where a descent begins. */
export interface Start {
  /** The candidate from whose standing state it begins; undefined: where the model's answers begin. */
  from?: number
  /** Standard deviation of the noise. */
  noise: number
  /** Share of the blanks that the noise meets. */
  share: number
  /** Those blanks begin at zeros and the noise, not at the state. */
  anew: boolean
}

/** Streams of `uniform` under the seed of an answer. */
const DEVIATION_STREAM = 2
const ACCEPTANCE_STREAM = 3
const PARENT_STREAM = 4
/** And one stream for the blanks of each descent. */
const SHARE_STREAMS = 2 ** 16

/** Where the model's answers begin. */
export const modelStart: Start = { noise: 0, share: 1, anew: false }
const unitNoise: Start = { noise: 1, share: 1, anew: false }

/** Deviations of the smaller noises of `mixed`. */
const SMALLEST_NOISE = 0.2
const NOISE_RANGE = 0.9

/** Half of the blanks: with all of them at half the deviation as many boards were solved. */
const SHARE = 0.5

/** In units of the energy: how much higher the energy of a state that Metropolis accepts usually is. */
const TEMPERATURE = 0.5

/** A descent with the model's own start takes this many times `after` steps: it has no other of its kind. */
const MODEL_START_TURNS = 8

/** Where descent `descent` < M of an answer begins. */
export const firstStart = ({ policy }: Restarts, seed: number, descent: number): Start =>
  policy === 'mixed' ? mixedStart(seed, descent) : unitNoise

function mixedStart(seed: number, descent: number): Start {
  if (descent === 0) return modelStart
  if (descent % 2 === 1) return unitNoise
  const noise = SMALLEST_NOISE + NOISE_RANGE * uniform(seed, DEVIATION_STREAM, descent)
  return { noise, share: 1, anew: false }
}

/** Whether the policy begins at states where candidates stand. */
export const standsSomewhere = ({ policy }: Restarts): boolean =>
  policy !== 'mixed' && policy !== 'noise'

/** Whether a candidate goes on from where its descent `descent` led, or from where it stood before. */
export function accepts(
  { policy }: Restarts,
  seed: number,
  descent: number,
  led: number,
  stood: number,
): boolean {
  if (!Number.isFinite(led)) return false
  if (policy === 'partial' || !Number.isFinite(stood)) return true
  const chance = uniform(seed, ACCEPTANCE_STREAM, descent)
  return led <= stood - TEMPERATURE * Math.log(chance)
}

/** Where descent `descent` of candidate `index` begins; `standing`: energies where candidates stand. */
export function nextStart(
  restarts: Restarts,
  seed: number,
  descent: number,
  index: number,
  standing: readonly number[],
): Start {
  const { policy } = restarts
  if (policy === 'mixed') return mixedStart(seed, descent)
  if (policy === 'noise') return unitNoise
  const from = policy === 'population' ? parentOf(seed, descent, index, standing) : index
  if (!Number.isFinite(standing[from])) return unitNoise
  return { from, noise: 1, share: SHARE, anew: policy === 'partial' }
}

/** The candidate itself, or one of the better half where it is in the worse one. */
function parentOf(
  seed: number,
  descent: number,
  index: number,
  standing: readonly number[],
): number {
  const ranked = [...standing.keys()].sort(
    (a, b) => (standing[a] as number) - (standing[b] as number) || a - b,
  )
  const better = ranked.slice(0, Math.ceil(ranked.length / 2))
  if (better.includes(index)) return index
  return better[Math.floor(uniform(seed, PARENT_STREAM, descent) * better.length)] as number
}

/**
 * The state [K, W] at which a descent begins from `state`. `moving`: for each position whether it is blank.
 */
export function startFrom(
  state: Float32Array,
  { anew, noise, share }: Start,
  moving: readonly boolean[],
  seed: number,
  descent: number,
): Float32Array {
  const width = state.length / moving.length
  const added = normals(seed, descent, -1, state.length)
  const met = moving.map(
    (blank, position) => blank && uniform(seed, SHARE_STREAMS + descent, position) < share,
  )
  return state.map((value, i) => {
    if (!met[Math.floor(i / width)]) return value
    return (anew ? 0 : value) + noise * (added[i] as number)
  })
}

/**
 * The deviation of the noise of step `step`, where `noise` is that of the budget: from the model's own start, a
 * descent gets the noise of its start in its first step, together with that of the budget.
 */
export const startNoise = ({ from, noise: added }: Start, step: number, noise: number): number =>
  step === 0 && from === undefined ? Math.hypot(noise, added) : noise

/** The most steps of descent `descent`; Infinity where only its energy ends it. */
export const mayStepsOf = ({ after, policy }: Restarts, descent: number): number => {
  const steps = after === 'plateau' ? Infinity : after
  return policy === 'mixed' && descent === 0 ? MODEL_START_TURNS * steps : steps
}

/** Steps without a fall of the best energy after which a descent of `plateau` is over. */
const PLATEAU_STEPS = 8

/** Why a descent that has not reached the energy target is over; undefined where it goes on. */
export function givesUp(
  restarts: Restarts,
  budget: Budget,
  { descent, progress }: { readonly descent: number; readonly progress: Progress },
): RestartReason | undefined {
  if (!Number.isFinite(progress.final)) return 'diverged'
  if (converged(budget, progress)) return 'converged'
  if (restarts.after === 'plateau' && progress.idleSteps >= PLATEAU_STEPS) return 'converged'
  return progress.steps >= mayStepsOf(restarts, descent) ? 'steps' : undefined
}

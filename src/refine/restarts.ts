/**
 * When a descent of an answer is over and gives its slot to a new one, and where the new one begins. Every
 * policy is a pure function of the answer's seed, the number of the descent and energies that were seen, so
 * that an answer is the same whatever else runs. Knows no engine and no clock.
 *
 * Descents are numbered in the order in which they begin: 0 to M - 1 are the first ones of M candidates.
 */
import { isKept } from './acceptance.js'
import type { Budget, Restarts } from './budget.js'
import { normals, STREAMS, uniform } from './random.js'
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
  /** Positions that are committed at the start: guesses from what the first descent has left in doubt. */
  guess?: number
}

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

const GUESSES = 2
const guessStart: Start = { noise: 0.5, share: 1, anew: false, guess: GUESSES }
/** Steps of a descent from guesses, and of what follows when they are opened again, in shares of `after`. */
const GUESS_SHARE = 0.375
const CHECK_SHARE = 0.25

/**
 * How many candidates descend at a time (`width`) when an answer has taken `steps` steps in all, and until how many
 * steps. One does until `alone` steps; from there on twice as many do whenever the steps have doubled. So no
 * budget is spent on one descent that has settled, nor on many that have hardly begun.
 */
export function breadth({ alone }: Restarts, steps: number): { width: number; until: number } {
  if (alone === 0) return { width: Infinity, until: Infinity }
  let width = 1
  while (steps >= alone * width) width *= 2
  return { width, until: alone * width }
}

/** Whether the policy guesses what the first descent of an answer has left in doubt. */
export const guesses = ({ policy }: Restarts): boolean => policy === 'mixed' || policy === 'guess'

/** Where descent `descent` < M of an answer begins; nothing is known to guess from. */
export function firstStart({ policy }: Restarts, seed: number, descent: number): Start {
  if (policy === 'model' || (descent === 0 && (policy === 'mixed' || policy === 'guess')))
    return modelStart
  return policy === 'mixed' || policy === 'guess' ? someNoise(seed, descent) : unitNoise
}

/** Unit deviation, or a smaller one: no single one reaches most. */
function someNoise(seed: number, descent: number): Start {
  const chance = uniform(seed, STREAMS.noiseOfStart, descent)
  return { noise: Math.min(1, SMALLEST_NOISE + NOISE_RANGE * chance), share: 1, anew: false }
}

/** Whether the policy begins at states where candidates stand. */
export const standsSomewhere = ({ policy }: Restarts): boolean =>
  policy === 'partial' || policy === 'near' || policy === 'population'

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
  return isKept(TEMPERATURE, stood, led, uniform(seed, STREAMS.acceptedStart, descent))
}

/**
 * Where descent `descent` of candidate `index` begins. `standing`: energies where candidates stand; `known`: there
 * is something to guess from.
 */
export function nextStart(
  { policy }: Restarts,
  seed: number,
  descent: number,
  index: number,
  standing: readonly number[],
  known: boolean,
): Start {
  switch (policy) {
    case 'model':
      return modelStart
    case 'noise':
      return unitNoise
    case 'guess':
      return known ? guessStart : someNoise(seed, descent)
    case 'mixed':
      return known && descent % 2 === 0 ? guessStart : someNoise(seed, descent)
  }
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
  return better[Math.floor(uniform(seed, STREAMS.parentOfStart, descent) * better.length)] as number
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
    (blank, position) => blank && uniform(seed, STREAMS.noisyBlanks + descent, position) < share,
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

/** The most steps of a descent with this start; Infinity where only its energy ends it. */
export function mostSteps({ after }: Restarts, { guess }: Start): number {
  const steps = after === 'plateau' ? Infinity : after
  return guess === undefined ? steps : Math.ceil(GUESS_SHARE * steps)
}

/** The most steps that a descent takes when its commits have been opened. */
export const checkSteps = ({ after }: Restarts): number =>
  after === 'plateau' ? Infinity : Math.ceil(CHECK_SHARE * after)

/** Steps without a fall of the best energy after which a descent of `plateau` is over. */
const PLATEAU_STEPS = 8

/**
 * Why a descent that has not reached the energy target is over; undefined where it goes on. `limit`: the most
 * steps that it takes.
 */
export function givesUp(
  restarts: Restarts,
  budget: Budget,
  progress: Progress,
  limit: number,
): RestartReason | undefined {
  if (!Number.isFinite(progress.final)) return 'diverged'
  if (converged(budget, progress)) return 'converged'
  if (restarts.after === 'plateau' && progress.idleSteps >= PLATEAU_STEPS) return 'converged'
  return progress.steps >= limit ? 'steps' : undefined
}

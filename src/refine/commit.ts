/**
 * Commits: positions of an answer become certain while the others go on. The same policy serves text, where
 * the most certain positions of a block are fixed first, and puzzles, where a guess is fixed that is nearly
 * sure, the descent propagates it, and the energy refutes it. Pure functions of readouts and seeds.
 *
 * A descent that commits goes through phases. It descends; then positions are committed, again and again,
 * with some steps after each time. With `reopen` all commits are opened in the end, and only what holds its
 * energy without them is an answer: the energy of a board with committed positions leaves them out.
 */
import type { Commit } from './budget.js'
import { STREAMS, uniform } from './random.js'
import { argmax, drawAmong } from './sampling.js'

/** A position that is more certain than this is no guess. */
const SURE = 0.95
/** A guess is usually among the so many most certain of the positions that are not sure. */
const SPREAD = 10

/** Of a position that may be committed. */
interface Certainty {
  position: number
  /** Nats. */
  entropy: number
  /** Of its most probable token. */
  most: number
  weights: Float32Array
}

function certaintyOf(position: number, weights: Float32Array): Certainty {
  let sum = 0
  let highest = 0
  for (const weight of weights) {
    sum += weight
    highest = Math.max(highest, weight)
  }
  let entropy = 0
  for (const weight of weights) {
    const p = weight / sum
    if (p > 0) entropy -= p * Math.log(p)
  }
  return { position, entropy, most: highest / sum, weights }
}

/** The most certain first, the first position among equals. */
const ranked = (
  weights: Float32Array,
  blanks: readonly number[],
  positions: number,
): Certainty[] => {
  const vocab = weights.length / positions
  return blanks
    .map((at) => certaintyOf(at, weights.subarray(at * vocab, (at + 1) * vocab)))
    .filter(({ entropy }) => Number.isFinite(entropy))
    .sort((a, b) => a.entropy - b.entropy || a.position - b.position)
}

/** How many of `blanks` positions, `left` of which are not committed, are committed now: one stays blank. */
export const commitCount = ({ count, share }: Commit, blanks: number, left: number): number =>
  Math.max(0, Math.min(count ?? Math.ceil((share ?? 1) * blanks), left - 1))

/** A token by the weights of temperature 1, each to the power of 1 / temperature; at 0 the most probable one. */
function drawAt(temperature: number, weights: Float32Array, chance: number): number {
  if (temperature === 0) return argmax(weights)
  const most = weights[argmax(weights)] as number
  return drawAmong(
    weights.map((weight) => (weight / most) ** (1 / temperature)),
    chance,
  )
}

/**
 * Positions and their tokens. `weights`: [K, V], of temperature 1; `blanks`: positions that move; `draw`: a
 * number that no other draw of the answer has; `temperature`: of the request.
 */
export function commits(
  { draw: how }: Pick<Commit, 'draw'>,
  count: number,
  weights: Float32Array,
  positions: number,
  blanks: readonly number[],
  seed: number,
  draw: number,
  temperature = 0,
): { position: number; token: number }[] {
  const all = ranked(weights, blanks, positions)
  const chance = (i: number): number => uniform(seed, STREAMS.commits + draw, i)
  if (how !== 'sample')
    return all.slice(0, count).map(({ position, weights: own }) => ({
      position,
      token: drawAt(how === 'most' ? 0 : temperature, own, chance(position)),
    }))
  const unsure = all.filter(({ most }) => most < SURE)
  const chosen: { position: number; token: number }[] = []
  while (chosen.length < count && unsure.length > 0) {
    const i = 2 * chosen.length
    const place = Math.floor(-Math.log(chance(i)) * SPREAD)
    const [guess] = unsure.splice(Math.min(place, unsure.length - 1), 1)
    if (guess)
      chosen.push({ position: guess.position, token: drawAmong(guess.weights, chance(i + 1)) })
  }
  return chosen
}

/**
 * The terms of a request, evaluated together on one answer: their values, whether they are satisfied, and
 * the gradient of their weighted sum as an engine takes it (`Push` in src/energy/engine.ts).
 */
import type { ModelReading } from './model-energy.js'
import type { Reading, Slope } from './reading.js'
import type { TermResult, WeightedTerm } from './term.js'

/** What terms are evaluated on. */
export interface Evaluated {
  reading: Reading
  /** [K] the most probable token of each position, or the one chosen. */
  tokens: readonly number[]
  /** Positions of the answer that move, as indices into it. */
  moving: readonly number[]
  /** [K, D] the answer's points; needed where a term is of the representation. */
  points?: Float32Array
  /** What other models say of the reading, by the places of their terms. */
  models?: ReadonlyMap<number, ModelReading>
}

/** dE/d(logits) [K, V] and dE/d(points) [K, D] of the weighted sum of terms. */
export interface ComposedGradient {
  logits?: Float32Array
  points?: Float32Array
}

export interface Composed {
  results: TermResult[]
  /** sum_k w_k T_k */
  energy: number
  /** Every required term is satisfied. */
  holds: boolean
  gradient: ComposedGradient
}

/** It is a function of p: of the answer's tokens, or of another model's answer that stands for them. */
const ofChances = ({ term }: WeightedTerm): boolean => term.of !== 'point'

/** Whether terms look at points, so that they have to be read. */
export const needPoints = (terms: readonly WeightedTerm[]): boolean => !terms.every(ofChances)

export function compose(terms: readonly WeightedTerm[], at: Evaluated): Composed {
  const { chances } = at.reading
  const slope: Slope = { gradient: new Float64Array(chances.length), weight: 0 }
  const mean = needPoints(terms) ? meanPoint(at) : new Float64Array(0)
  const pull = new Float64Array(mean.length)
  const tokens = [...at.reading.before, ...at.tokens.slice(0, at.reading.length)]
  const results = terms.map((weighted, k): TermResult => {
    const { term, weight } = weighted
    slope.weight = weight
    if (term.of === 'model') return resultOf(weighted, addModel(at.models?.get(k), slope))
    if (term.of === 'tokens') {
      const value = term.evaluate(at.reading, slope)
      return resultOf(weighted, value, term.holds?.(tokens, at.reading.last))
    }
    const { gradient, value } = term.evaluate(mean)
    gradient.forEach((x, d) => (pull[d] = (pull[d] as number) + weight * x))
    return resultOf(weighted, value)
  })
  return {
    results,
    energy: terms.reduce((sum, { weight }, k) => sum + weight * (results[k]?.value ?? 0), 0),
    holds: allRequiredHold(terms, results),
    gradient: {
      ...(terms.some(ofChances) && { logits: byLogits(slope.gradient, at) }),
      ...(needPoints(terms) && { points: spread(pull, at) }),
    },
  }
}

/** Adds the gradient of another model's energy, and returns its value. */
function addModel(reading: ModelReading | undefined, { gradient, weight }: Slope): number {
  if (!reading) throw new RangeError('the energy of another model has to be read before')
  reading.slope.forEach((x, i) => (gradient[i] = (gradient[i] as number) + weight * x))
  return reading.value
}

/** `holds`: what the rule says of the tokens, where there is a rule. */
export const resultOf = (
  { term: { type }, tolerance = Infinity }: WeightedTerm,
  value: number,
  holds = true,
): TermResult => ({ type, value, satisfied: holds && value <= tolerance })

export const allRequiredHold = (
  terms: readonly WeightedTerm[],
  results: readonly TermResult[],
): boolean => terms.every(({ required }, k) => !required || results[k]?.satisfied === true)

/** dT/dz_v = p_v (dT/dp_v - sum_u p_u dT/dp_u), [K, V]; zero where a position does not move. */
function byLogits(byChances: Float64Array, { moving, reading }: Evaluated): Float32Array {
  const { chances, vocab } = reading
  const logits = new Float32Array(byChances.length)
  for (const position of moving) {
    const from = position * vocab
    let mean = 0
    for (let at = from; at < from + vocab; at++)
      mean += (chances[at] as number) * (byChances[at] as number)
    for (let at = from; at < from + vocab; at++)
      logits[at] = (chances[at] as number) * ((byChances[at] as number) - mean)
  }
  return logits
}

/** [D] */
function meanPoint({ moving, points, reading }: Evaluated): Float64Array {
  if (!points) throw new RangeError('terms of the representation need the points of the answer')
  const width = points.length / (reading.chances.length / reading.vocab)
  const mean = new Float64Array(width)
  for (const position of moving)
    for (let d = 0; d < width; d++)
      mean[d] = (mean[d] as number) + (points[position * width + d] as number) / moving.length
  return mean
}

/** The gradient by the mean, as that by each moving position, [K, D]. */
function spread(byMean: Float64Array, { moving, points }: Evaluated): Float32Array {
  const gradient = new Float32Array(points?.length ?? 0)
  const width = byMean.length
  for (const position of moving)
    for (let d = 0; d < width; d++)
      gradient[position * width + d] = (byMean[d] as number) / moving.length
  return gradient
}

/**
 * How tokens are chosen from a settled answer's logits. Pure: the same logits, settings and draw
 * index give the same token, whatever else is in the batch.
 */
import { uniform } from './random.js'

/** Field meanings follow the OpenAI API. */
export interface Sampling {
  /** 0: the most probable token, ties to the lowest id. */
  temperature: number
  topP: number
  /** 0: no limit. */
  topK: number
  seed: number
  presencePenalty: number
  frequencyPenalty: number
  /** Added to the logits, -100..100, by token id. */
  logitBias: Readonly<Record<number, number>>
}

export interface Choice {
  token: number
  /** Of the model's own distribution: before bias, penalties and temperature. Natural logarithm. */
  logProb: number
  /** Most probable first, of the same distribution. */
  top: readonly { token: number; logProb: number }[]
}

const SAMPLING_STREAM = 0

/** True where the most probable token is the choice, so that no logits are needed. */
export const isGreedy = (sampling: Sampling): boolean =>
  sampling.temperature === 0 &&
  sampling.presencePenalty === 0 &&
  sampling.frequencyPenalty === 0 &&
  Object.keys(sampling.logitBias).length === 0

function argmax(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) {
    if ((values[i] as number) > (values[best] as number)) best = i
  }
  return best
}

function logSumExp(values: Float32Array): number {
  const highest = values[argmax(values)] as number
  let sum = 0
  for (const value of values) sum += Math.exp(value - highest)
  return highest + Math.log(sum)
}

/** Ids of the `count` largest values, largest first, ties to the lowest id. O(V count) at worst. */
export function largest(values: Float32Array, count: number): number[] {
  const ids: number[] = []
  for (let id = 0; id < values.length; id++) {
    const value = values[id] as number
    if (ids.length === count && value <= (values[ids[count - 1] as number] as number)) continue
    let place = ids.length
    while (place > 0 && value > (values[ids[place - 1] as number] as number)) place--
    ids.splice(place, 0, id)
    if (ids.length > count) ids.pop()
  }
  return ids
}

/** OpenAI: logit - presence * [count > 0] - frequency * count + bias. */
function adjust(
  logits: Float32Array,
  sampling: Sampling,
  counts: ReadonlyMap<number, number>,
): Float32Array {
  const adjusted = logits.slice()
  for (const [token, count] of counts) {
    const penalty = sampling.presencePenalty + sampling.frequencyPenalty * count
    adjusted[token] = (adjusted[token] as number) - penalty
  }
  for (const [token, bias] of Object.entries(sampling.logitBias)) {
    const id = Number(token)
    if (id < adjusted.length) adjusted[id] = (adjusted[id] as number) + bias
  }
  return adjusted
}

/**
 * Ids that may be drawn, most probable first where a cut needs order. What lies below
 * (1 - topP) / V of the mass adds up to less than 1 - topP, so it is in no nucleus and not sorted.
 */
function eligible(weights: Float64Array, whole: number, { topK, topP }: Sampling): number[] {
  const ids = [...weights.keys()]
  if (topP >= 1 && (topK === 0 || topK >= ids.length)) return ids
  const floor = ((1 - Math.min(topP, 1)) * whole) / ids.length
  const order = (a: number, b: number) => (weights[b] as number) - (weights[a] as number) || a - b
  const sorted = ids.filter((id) => (weights[id] as number) >= floor).sort(order)
  return topK > 0 ? sorted.slice(0, topK) : sorted
}

/** Draws from softmax(logits / temperature), cut to the topK largest, then to their topP nucleus. */
function drawFrom(logits: Float32Array, sampling: Sampling, chance: number): number {
  const highest = logits[argmax(logits)] as number
  const weights = Float64Array.from(logits, (z) => Math.exp((z - highest) / sampling.temperature))
  const whole = weights.reduce((sum, weight) => sum + weight, 0)
  const ids = eligible(weights, whole, sampling)
  const weigh = (id: number | undefined): number => weights[id as number] as number
  const listed = ids.reduce((sum, id) => sum + weigh(id), 0)
  const goal = sampling.topP * (sampling.topK > 0 ? listed : whole)
  let kept = 0
  let mass = 0
  while (kept < ids.length && (kept === 0 || mass < goal)) mass += weigh(ids[kept++])
  let left = chance * mass
  for (let i = 0; i < kept; i++) {
    left -= weigh(ids[i])
    if (left < 0) return ids[i] as number
  }
  return ids[kept - 1] as number
}

/**
 * Chooses a token from `logits` [V]. `counts`: how often each token occurs earlier in the
 * completion. `draw`: index of the token in its completion, which with the seed names the random
 * number. `top`: alternatives to report.
 */
export function sample(
  logits: Float32Array,
  sampling: Sampling,
  counts: ReadonlyMap<number, number>,
  draw: number,
  top = 0,
): Choice {
  const adjusted = adjust(logits, sampling, counts)
  const token =
    sampling.temperature === 0
      ? argmax(adjusted)
      : drawFrom(adjusted, sampling, uniform(sampling.seed, SAMPLING_STREAM, draw))
  const total = logSumExp(logits)
  const logProbOf = (id: number): number => (logits[id] as number) - total
  return {
    token,
    logProb: logProbOf(token),
    top: largest(logits, top).map((id) => ({ token: id, logProb: logProbOf(id) })),
  }
}

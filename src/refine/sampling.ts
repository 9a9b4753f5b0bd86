/**
 * Chooses tokens from the logits of a settled answer. Pure: the same logits, settings and draw index
 * give the same token, whatever else is in the batch.
 */
import { STREAMS, uniform } from './random.js'

/** Field meanings follow the OpenAI API. */
export interface Sampling {
  /** 0: the most probable token, the lowest id among equals. */
  temperature: number
  topP: number
  /** 0: no limit. */
  topK: number
  seed: number
  presencePenalty: number
  frequencyPenalty: number
  /** Tokens less probable than this share of the most probable one are not drawn; absent or 0: no limit. */
  minP?: number
  /** Divides positive logits of tokens that were there before, multiplies negative ones; absent or 1: none. */
  repetitionPenalty?: number
  /** Added to the logits, -100..100, by token id. */
  logitBias: Readonly<Record<number, number>>
}

/** A token's log-probability and the most probable alternatives. */
export interface TokenLogProbs {
  token: number
  /** Natural logarithm, in the model's own distribution: without bias, penalties and temperature. */
  logProb: number
  /** The most probable tokens of the same distribution, most probable first. */
  top: readonly { token: number; logProb: number }[]
}

const unadjusted = (sampling: Sampling): boolean =>
  sampling.presencePenalty === 0 &&
  sampling.frequencyPenalty === 0 &&
  !penalisesRepetition(sampling) &&
  Object.keys(sampling.logitBias).length === 0

const penalisesRepetition = ({ repetitionPenalty = 1 }: Sampling): boolean =>
  repetitionPenalty !== 1

/** Whether the most probable token is chosen, so that no other logits are needed. */
export const isGreedy = (sampling: Sampling): boolean =>
  sampling.temperature === 0 && unadjusted(sampling)

/** Whether a draw needs nothing but the probabilities at its temperature. */
export const isPlainDraw = (sampling: Sampling): boolean =>
  sampling.temperature > 0 && unadjusted(sampling)

/** Whether every token may be drawn: neither top_k nor top_p nor min_p excludes any. */
export const isWholeDraw = ({ minP = 0, topK, topP }: Sampling): boolean =>
  topP >= 1 && topK === 0 && minP === 0

type Numbers = Float32Array | Float64Array

/** The first index of the largest value. */
export function argmax(values: Numbers): number {
  let best = 0
  for (let i = 1; i < values.length; i++) {
    if ((values[i] as number) > (values[best] as number)) best = i
  }
  return best
}

/** exp((z - largest z) / temperature): softmax without its normalization. */
function weigh(logits: Float32Array, temperature: number): Float64Array {
  const highest = logits[argmax(logits)] as number
  const weights = new Float64Array(logits.length)
  for (let id = 0; id < logits.length; id++) {
    weights[id] = Math.exp(((logits[id] as number) - highest) / temperature)
  }
  return weights
}

function total(weights: Numbers): number {
  let sum = 0
  for (let id = 0; id < weights.length; id++) sum += weights[id] as number
  return sum
}

/** Ids of the `count` largest values, largest first, lower ids first among equals. */
export function largest(values: Numbers, count: number): number[] {
  if (count === 0) return []
  const ids: number[] = []
  let least = -Infinity
  for (let id = 0; id < values.length; id++) {
    const value = values[id] as number
    if (ids.length === count && value <= least) continue
    let place = ids.length
    while (place > 0 && value > (values[ids[place - 1] as number] as number)) place--
    ids.splice(place, 0, id)
    if (ids.length > count) ids.pop()
    least = values[ids[ids.length - 1] as number] as number
  }
  return ids
}

/** What else of its request a choice may depend on. */
export interface Surroundings {
  /** The tokens before the completion. */
  prompt?: readonly number[]
  /** One bit for each token, 32 to a word: those that may be chosen; absent: all. */
  allowed?: Int32Array | undefined
}

/** z / penalty where it is positive, else z * penalty (Keskar et al. 2019). */
const discouraged = (logit: number, penalty: number): number =>
  logit > 0 ? logit / penalty : logit * penalty

/**
 * logit - presence * [count > 0] - frequency * count + bias, as OpenAI defines it, after the penalty of
 * repetition; -Infinity for tokens that are not allowed. Returns `logits` itself if nothing applies.
 */
function adjust(
  logits: Float32Array,
  sampling: Sampling,
  counts: ReadonlyMap<number, number>,
  { allowed, prompt = [] }: Surroundings,
): Float32Array {
  const { presencePenalty, frequencyPenalty, logitBias, repetitionPenalty = 1 } = sampling
  const biases = Object.entries(logitBias)
  const penalised = (presencePenalty !== 0 || frequencyPenalty !== 0) && counts.size > 0
  const repeats = penalisesRepetition(sampling)
  if (!penalised && !repeats && !allowed && biases.length === 0) return logits
  const adjusted = logits.slice()
  if (repeats) {
    for (const id of new Set([...prompt, ...counts.keys()])) {
      if (id < adjusted.length) {
        adjusted[id] = discouraged(adjusted[id] as number, repetitionPenalty)
      }
    }
  }
  const add = (id: number, amount: number) => {
    if (id < adjusted.length) adjusted[id] = (adjusted[id] as number) + amount
  }
  if (penalised) {
    for (const [id, count] of counts) add(id, -presencePenalty - frequencyPenalty * count)
  }
  for (const [id, bias] of biases) add(Number(id), bias)
  if (allowed) forbidOthers(adjusted, allowed)
  return adjusted
}

/** Gives tokens a logit of -Infinity whose bit in `allowed`, 32 to a word, is not set. */
export function forbidOthers(logits: Float32Array, allowed: Int32Array): void {
  for (let id = 0; id < logits.length; id++) {
    if (((allowed[id >> 5] as number) >>> (id & 31)) % 2 === 0) logits[id] = -Infinity
  }
}

/** The first id, in the order of `ids`, at which the running sum of weights exceeds `goal`. */
function passing(weights: Numbers, goal: number, ids?: readonly number[]): number {
  const count = ids?.length ?? weights.length
  let left = goal
  let last = 0
  for (let i = 0; i < count; i++) {
    const id = ids ? (ids[i] as number) : i
    const weight = weights[id] as number
    if (weight > 0) last = id
    left -= weight
    if (left < 0) return id
  }
  return last
}

/**
 * Ids that can be in the topP nucleus, by falling weight. Weights below (1 - topP) / V of the mass add up
 * to less than 1 - topP, so they are in no nucleus and need not be sorted.
 */
function ranking(weights: Numbers, sum: number, topP: number): number[] {
  const floor = ((1 - topP) * sum) / weights.length
  const ids: number[] = []
  for (let id = 0; id < weights.length; id++) if ((weights[id] as number) >= floor) ids.push(id)
  return ids.sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b)
}

const massOf = (weights: Numbers, ids: readonly number[]): number =>
  ids.reduce((mass, id) => mass + (weights[id] as number), 0)

/** Ids in the topP nucleus of the topK largest weights, most probable first. */
function nucleus(weights: Numbers, sum: number, { topK, topP }: Sampling): number[] {
  const few = topK > 0 && topK < weights.length
  const ids = few ? largest(weights, topK) : ranking(weights, sum, topP)
  const goal = topP * (few ? massOf(weights, ids) : sum)
  let mass = 0
  const end = ids.findIndex((id) => (mass += weights[id] as number) >= goal)
  return end < 0 ? ids : ids.slice(0, end + 1)
}

/** The id that `chance`, a number in (0, 1), draws from weights [V]; -1 unless they add up to a finite number above 0. */
export function drawAmong(weights: Numbers, chance: number): number {
  const sum = total(weights)
  return sum > 0 && sum < Infinity ? passing(weights, chance * sum) : -1
}

/** The random number for token number `draw` of a completion. */
export const chanceOf = ({ seed }: Sampling, draw: number): number =>
  uniform(seed, STREAMS.sampling, draw)

/** Those that are at least this share of the largest; 0 for the others. */
function atLeast(weights: Numbers, share: number): Numbers {
  const least = share * (weights[argmax(weights)] as number)
  return weights.map((weight) => (weight < least ? 0 : weight))
}

/**
 * Draws from weights [V], restricted by minP, then to the topK largest and then to their topP nucleus. `draw`:
 * index of the token in its completion, which selects the random number. Throws a RangeError unless the
 * weights add up to a finite number above 0.
 */
export function drawFrom(all: Numbers, sampling: Sampling, draw: number): number {
  const { minP = 0 } = sampling
  const weights = minP > 0 ? atLeast(all, minP) : all
  const sum = total(weights)
  if (!(sum > 0 && sum < Infinity)) throw new RangeError('the read-out is not finite')
  const { topK, topP } = sampling
  const chance = chanceOf(sampling, draw)
  const cut = topP < 1 || (topK > 0 && topK < weights.length)
  if (!cut) return passing(weights, chance * sum)
  const ids = nucleus(weights, sum, sampling)
  return passing(weights, chance * massOf(weights, ids), ids)
}

/** The log-probability of `token`, with the `top` most probable tokens. */
export function tokenLogProbs(logits: Float32Array, token: number, top: number): TokenLogProbs {
  const highest = logits[argmax(logits)] as number
  const logSum = highest + Math.log(total(weigh(logits, 1)))
  const logProbOf = (id: number): number => (logits[id] as number) - logSum
  return {
    token,
    logProb: logProbOf(token),
    top: largest(logits, top).map((id) => ({ token: id, logProb: logProbOf(id) })),
  }
}

/**
 * Chooses a token from `logits` [V]. `counts`: how often each token occurs earlier in the completion.
 * For `draw` and errors see `drawFrom`.
 */
export function sample(
  logits: Float32Array,
  sampling: Sampling,
  counts: ReadonlyMap<number, number>,
  draw: number,
  surroundings: Surroundings = {},
): number {
  const adjusted = adjust(logits, sampling, counts, surroundings)
  if (sampling.temperature > 0)
    return drawFrom(weigh(adjusted, sampling.temperature), sampling, draw)
  const token = argmax(adjusted)
  if (!Number.isFinite(logits[token])) throw new RangeError('the read-out is not finite')
  return token
}

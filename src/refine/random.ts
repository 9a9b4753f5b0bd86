/**
 * Counter-based random numbers: each value is a function of (seed, candidate, step, element) alone, so
 * noise does not depend on the rest of the batch, and every engine can reproduce it.
 * Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 */
const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85

/** High 32 bits of the 64-bit product of two 32-bit unsigned integers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff
  const ah = a >>> 16
  const bl = b & 0xffff
  const bh = b >>> 16
  const mid = ah * bl + ((al * bl) >>> 16)
  const mid2 = al * bh + (mid & 0xffff)
  return (ah * bh + Math.floor(mid / 65536) + (mid2 - (mid2 % 65536)) / 65536) >>> 0
}

/** Writes the four 32-bit words of a counter under a key into `out`. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array,
): void {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(M0, c0 >>> 0)
    const l0 = Math.imul(M0, c0) >>> 0
    const h1 = mulHigh(M1, c2 >>> 0)
    const l1 = Math.imul(M1, c2) >>> 0
    c0 = (h1 ^ c1 ^ k0) >>> 0
    c1 = l1
    c2 = (h0 ^ c3 ^ k1) >>> 0
    c3 = l0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
}

/** The low and the high 32 bits of a seed, in two's complement: the key of its numbers. */
export const seedWords = (seed: number): [number, number] => [
  seed >>> 0,
  Math.floor(seed / 4294967296) >>> 0,
]
const unit = (word: number): number => (word + 0.5) / 4294967296

/** Standard normals for elements 0..length-1 of one row. `step` -1 stands for the starting point. */
export function normals(
  seed: number,
  candidate: number,
  step: number,
  length: number,
): Float32Array {
  const key = seedWords(seed)
  const words = new Uint32Array(4)
  const out = new Float32Array(length)
  for (let i = 0; i < length; i += 4) {
    philox([i >>> 2, (step + 1) >>> 0, candidate >>> 0, 0], key, words)
    for (let pair = 0; pair < 2; pair++) {
      const radius = Math.sqrt(-2 * Math.log(unit(words[2 * pair] as number)))
      const angle = 2 * Math.PI * unit(words[2 * pair + 1] as number)
      if (i + 2 * pair < length) out[i + 2 * pair] = radius * Math.cos(angle)
      if (i + 2 * pair + 1 < length) out[i + 2 * pair + 1] = radius * Math.sin(angle)
    }
  }
  return out
}

/**
 * The streams of `uniform` that requests use, here together so that no two purposes have the same numbers. Those
 * under the seed of a request come first, then those under the seed of an answer. A stream that is the first of
 * many is added to a number that the purpose counts by.
 */
export const STREAMS = {
  sampling: 0,
  answerSeeds: 1,
  noiseOfStart: 2,
  acceptedStart: 3,
  parentOfStart: 4,
  /** The first of one for each descent: which blanks the noise of its start meets. */
  noisyBlanks: 2 ** 16,
  /** The first of one for each time that a descent commits positions. */
  commits: 2 ** 24,
  /** The first of one for each descent: which of its steps Metropolis keeps. */
  moves: 2 ** 31,
} as const

/** Number `draw` of the stream (seed, stream), uniform in (0, 1). */
export function uniform(seed: number, stream: number, draw: number): number {
  const words = new Uint32Array(4)
  philox([draw >>> 0, stream >>> 0, 0, 1], seedWords(seed), words)
  return unit(words[0] as number)
}

/** Representations as means of state vectors [D]: of a text's tokens, or of an answer's positions. */
import type { Answer } from '../answers/answer.js'
import { BLANK } from '../answers/answer-shape.js'

/** The running mean of vectors. */
export class MeanPool {
  private sum: Float64Array | undefined
  private count = 0

  /** `sum`: of `count` vectors, [D]. */
  add(sum: Float32Array, count: number): void {
    const before = this.sum
    this.sum = before ? before.map((x, i) => x + (sum[i] as number)) : Float64Array.from(sum)
    this.count += count
  }

  clear(): void {
    this.sum = undefined
    this.count = 0
  }

  get mean(): Float32Array {
    return Float32Array.from(this.sum ?? [], (x) => x / this.count)
  }
}

/** The mean over the positions of an answer that were inferred. `point`: [K, `dim`]. */
export function answerRepresentation(
  { shape }: Answer,
  point: Float32Array,
  dim: number,
): Float32Array {
  const inferred = new MeanPool()
  for (let i = 0; i < shape.length; i++) {
    if ((shape.clamped?.[i] ?? BLANK) === BLANK)
      inferred.add(point.slice(i * dim, (i + 1) * dim), 1)
  }
  return inferred.mean
}

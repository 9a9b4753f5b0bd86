/**
 * The representation of an answer is near that of a text. T = 1 - cos(mean, target), from 0 (same direction)
 * to 2, where `mean` is the mean of the answer's points over its moving positions, and `target` the mean of
 * the vectors that the text's tokens are read out by. No unit. Cosine similarity of mean vectors is the
 * usual measure of embeddings (Wieting et al., "Towards universal paraphrastic sentence embeddings", 2016).
 */
import type { PointTerm } from './term.js'

const dot = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, x, d) => sum + x * (b[d] as number), 0)

/** A shorter vector has no direction. */
const LEAST_LENGTH = 1e-12

/** `target`: [D] */
export function similar(target: Float64Array): PointTerm {
  const targetLength = Math.sqrt(dot(target, target))
  return {
    of: 'point',
    type: 'similar',
    evaluate: (mean) => {
      const length = Math.sqrt(dot(mean, mean))
      const both = length * targetLength
      if (!(both > LEAST_LENGTH)) return { value: 1, gradient: new Float64Array(mean.length) }
      const cosine = dot(mean, target) / both
      const gradient = mean.map(
        (x, d) => (cosine * x) / (length * length) - (target[d] as number) / both,
      )
      return { value: 1 - cosine, gradient }
    },
  }
}

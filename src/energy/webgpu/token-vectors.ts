/**
 * The vectors that points consist of, on the host: what a token is read out by in latent space, its embedding
 * in vocab space.
 */
import type { Checkpoint } from '../../model/checkpoint.js'
import { checkRange } from '../range.js'
import type { Shape } from './shape.js'

export class TokenVectors {
  /** [V][D], or [D][V] where `transposed`. */
  private readonly table: Float32Array
  private readonly transposed: boolean

  constructor(
    private readonly shape: Shape,
    { tensors }: Checkpoint,
  ) {
    this.transposed = !shape.latent && shape.config.answer.embed === 'vocab_to_embed'
    const vocabTable = this.transposed ? 'vocab_to_embed.weight' : 'embeddings.weight'
    const name = shape.latent ? 'answer.readout.weight' : vocabTable
    this.table = tensors.get(name)?.data ?? new Float32Array(0)
  }

  /** One [D] for each token. */
  of(tokens: readonly number[]): Float32Array[] {
    const { dim, vocab } = this.shape
    return tokens.map((token) => {
      checkRange('token', token, vocab)
      return Float32Array.from({ length: dim }, (_, c) => this.entry(token, c))
    })
  }

  /** Number `c` of a token's vector. */
  entry(token: number, c: number): number {
    const { dim, vocab } = this.shape
    return this.table[this.transposed ? c * vocab + token : token * dim + c] as number
  }
}

/** In float64, of one position's logits. */
export function softmax(z: Float32Array): Float64Array {
  const largest = z.reduce((a, b) => Math.max(a, b), -Infinity)
  const weights = Float64Array.from(z, (x) => Math.exp(x - largest))
  const total = weights.reduce((a, b) => a + b, 0)
  return weights.map((weight) => weight / total)
}

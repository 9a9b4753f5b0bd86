/**
 * What one descent step of one answer costs, counted from the configuration: multiply-adds count two
 * operations; norms, rotations and activations are left out (under 2 % from 128 wide on).
 */
import type { ModelConfig } from '../model/config.js'

export interface StepCost {
  /** Floating-point operations of one answer, all K positions. */
  flops: number
  /** Numbers of the weights that the step reads, each counted once per use; shared by a whole batch. */
  weights: number
  /** Numbers of the context cache that it reads. */
  cache: number
}

/** `context`: observed tokens. */
export function stepCost(config: ModelConfig, context: number): StepCost {
  const { dim, ffn_dim: ffn, layers, vocab_size: vocab, answer, energy } = config
  const { block } = answer
  const matrices = layers * (4 * dim * dim + 3 * dim * ffn)
  const attended = layers * 2 * dim * (context + block)
  const residual = energy.kind === 'residual'
  // Backward as far as the answer, not to the weights: as much again as forward.
  const passes = residual && energy.direction === 'amortized' ? 1 : 2
  const outside = {
    // C, and U for the entropy of the read-out.
    latent: residual ? passes * dim * dim + vocab * dim : 0,
    // Into the embedding and back out of it.
    vocab: 2 * vocab * dim,
  }[answer.space]
  return {
    flops: 2 * block * (passes * (matrices + attended) + outside),
    weights: passes * matrices + outside,
    cache: passes * layers * 2 * dim * context,
  }
}

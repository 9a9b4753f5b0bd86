/**
 * The cost of one descent step of one answer, counted from the configuration. A multiply-add counts as two
 * operations; norms, rotations and activations are left out (under 2 % from a width of 128 on).
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
  // The gradient with respect to the answer, not to the weights, costs as much again as the forward pass.
  const passes = residual && energy.direction === 'amortized' ? 1 : 2
  const outside = {
    // The opinion matrix, and the read-out for its entropy.
    latent: residual ? passes * dim * dim + vocab * dim : 0,
    // Into the embedding, and its gradient back.
    vocab: 2 * vocab * dim,
  }[answer.space]
  return {
    flops: 2 * block * (passes * (matrices + attended) + outside),
    weights: passes * matrices + outside,
    cache: passes * layers * 2 * dim * context,
  }
}

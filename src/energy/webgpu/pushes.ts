/**
 * What rows of a descent push their states along (`Push` of the interface), as gradients by the state, which
 * kernels add to the step; and the vectors that points consist of. The chain rule from the read-out to the
 * state is computed on the host: a request's push is made there, anew for each step.
 */
import type { Checkpoint } from '../../model/checkpoint.js'
import type { ModelConfig } from '../../model/config.js'
import { stateWidth } from '../../model/derived.js'
import { checkRange } from '../range.js'
import type { PushedRow } from '../row-checks.js'
import type { Device } from './device.js'
import { withRowWidth } from './padding.js'
import type { State } from './program.js'
import type { Shape } from './shape.js'

interface Made {
  device: Device
  shape: Shape
  state: State
}

export class Pushes {
  private readonly model: ModelConfig
  /** The vectors that points consist of: [V][D], or [D][V] where `transposed`. */
  private readonly table: Float32Array
  private readonly transposed: boolean

  constructor(
    private readonly made: Made,
    { config, tensors }: Checkpoint,
  ) {
    this.model = config
    const { embed, space } = config.answer
    this.transposed = space === 'vocab' && embed === 'vocab_to_embed'
    const vocabTable = this.transposed ? 'vocab_to_embed.weight' : 'embeddings.weight'
    const name = space === 'vocab' ? vocabTable : 'answer.readout.weight'
    this.table = tensors.get(name)?.data ?? new Float32Array(0)
  }

  /** Writes the pushes of these rows, each of a slot of its own, where the kernels of a step find them. */
  async upload(rows: readonly PushedRow[]): Promise<void> {
    const { device, shape, state } = this.made
    const { block, latent, ldState } = shape
    const bytes = 4 * block * ldState
    const chained = latent ? [] : rows.filter(({ push }) => push.points)
    const states = await device.submitAndRead(
      device.encoder(),
      chained.map(({ slot }) => ({ buffer: state.state, from: slot * bytes, bytes })),
    )
    const stateOf = new Map(
      chained.map(({ slot }, i) => [
        slot,
        withRowWidth(new Float32Array(states[i] as ArrayBuffer), block, stateWidth(this.model)),
      ]),
    )
    for (const { push, slot } of rows) {
      const sum = new Float32Array(block * stateWidth(this.model))
      if (push.logits) this.addByLogits(sum, push.logits)
      if (push.points) this.addByPoints(sum, push.points, stateOf.get(slot))
      device.write(state.pushes, slot * bytes, withRowWidth(sum, block, ldState))
    }
  }

  /** One [D] for each token. */
  vectors(tokens: readonly number[]): Float32Array[] {
    const { dim, vocab } = this.made.shape
    return tokens.map((token) => {
      checkRange('token', token, vocab)
      return Float32Array.from({ length: dim }, (_, c) => this.entry(token, c))
    })
  }

  private entry(token: number, c: number): number {
    const { dim, vocab } = this.made.shape
    return this.table[this.transposed ? c * vocab + token : token * dim + c] as number
  }

  /** The state of vocab space is the logits; in latent space they are y U^T. */
  private addByLogits(sum: Float32Array, logits: Float32Array): void {
    const { block, dim, latent, vocab } = this.made.shape
    if (!latent) {
      for (const [i, g] of logits.entries()) sum[i] = (sum[i] as number) + g
      return
    }
    for (let i = 0; i < block; i++)
      for (let v = 0; v < vocab; v++) {
        const g = logits[i * vocab + v] as number
        if (g === 0) continue
        for (let c = 0; c < dim; c++)
          sum[i * dim + c] = (sum[i * dim + c] as number) + g * this.entry(v, c)
      }
  }

  /** The points of latent space are the state; in vocab space they are the expected embeddings W softmax(z). */
  private addByPoints(
    sum: Float32Array,
    points: Float32Array,
    state: Float32Array | undefined,
  ): void {
    const { block, dim, vocab } = this.made.shape
    if (!state) {
      for (const [i, g] of points.entries()) sum[i] = (sum[i] as number) + g
      return
    }
    for (let i = 0; i < block; i++) {
      const z = state.subarray(i * vocab, (i + 1) * vocab)
      const largest = z.reduce((a, b) => Math.max(a, b), -Infinity)
      const weights = Float64Array.from(z, (x) => Math.exp(x - largest))
      const total = weights.reduce((a, b) => a + b, 0)
      // (W g)_v, and its mean under the softmax.
      const along = Float64Array.from({ length: vocab }, (_, v) => {
        let product = 0
        for (let c = 0; c < dim; c++) product += this.entry(v, c) * (points[i * dim + c] as number)
        return product
      })
      const mean = along.reduce((a, x, v) => a + (x * (weights[v] as number)) / total, 0)
      for (let v = 0; v < vocab; v++) {
        const p = (weights[v] as number) / total
        const at = i * vocab + v
        sum[at] = (sum[at] as number) + p * ((along[v] as number) - mean)
      }
    }
  }
}

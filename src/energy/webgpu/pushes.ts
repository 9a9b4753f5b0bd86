/**
 * What rows of a descent push their states along (`Push` of the interface), as gradients by the state, which
 * kernels add to the step. The chain rule from the read-out to the state is computed on the host: a request's
 * push is made there, anew for each step.
 */
import type { PushedRow } from '../row-checks.js'
import type { Device } from './device.js'
import { withRowWidth } from './padding.js'
import type { State } from './program.js'
import type { Shape } from './shape.js'
import { statesOf } from './state.js'
import { softmax, type TokenVectors } from './token-vectors.js'

interface Made {
  device: Device
  shape: Shape
  state: State
  vectors: TokenVectors
}

const add = (sum: Float32Array, numbers: Float32Array): void =>
  numbers.forEach((x, i) => (sum[i] = (sum[i] as number) + x))

export class Pushes {
  constructor(private readonly made: Made) {}

  /** Writes the pushes of these rows, each of a slot of its own, where the kernels of a step find them. */
  async upload(rows: readonly PushedRow[]): Promise<void> {
    const { device, shape, state } = this.made
    const { block, latent, ldState, stateWidth } = shape
    const bytes = 4 * block * ldState
    const chained = latent ? [] : rows.filter(({ push }) => push.points).map(({ slot }) => slot)
    const read = await statesOf(this.made, chained)
    const states = new Map(chained.map((slot, i) => [slot, read[i]]))
    for (const { push, slot } of rows) {
      const sum = new Float32Array(block * stateWidth)
      if (push.logits) this.addByLogits(sum, push.logits)
      if (push.points) this.addByPoints(sum, push.points, states.get(slot))
      device.write(state.pushes, slot * bytes, withRowWidth(sum, block, ldState))
    }
  }

  /** The state of vocab space is the logits; in latent space they are y U^T. */
  private addByLogits(sum: Float32Array, logits: Float32Array): void {
    const { vectors } = this.made
    const { block, dim, latent, vocab } = this.made.shape
    if (!latent) {
      add(sum, logits)
      return
    }
    for (let i = 0; i < block; i++)
      for (let v = 0; v < vocab; v++) {
        const g = logits[i * vocab + v] as number
        if (g === 0) continue
        for (let c = 0; c < dim; c++)
          sum[i * dim + c] = (sum[i * dim + c] as number) + g * vectors.entry(v, c)
      }
  }

  /** The points of latent space are the state; in vocab space they are the expected embeddings W softmax(z). */
  private addByPoints(
    sum: Float32Array,
    points: Float32Array,
    state: Float32Array | undefined,
  ): void {
    const { vectors } = this.made
    const { block, dim, vocab } = this.made.shape
    if (!state) {
      add(sum, points)
      return
    }
    for (let i = 0; i < block; i++) {
      const chances = softmax(state.subarray(i * vocab, (i + 1) * vocab))
      // (W g)_v, and its mean under the softmax.
      const along = Float64Array.from({ length: vocab }, (_, v) => {
        let product = 0
        for (let c = 0; c < dim; c++)
          product += vectors.entry(v, c) * (points[i * dim + c] as number)
        return product
      })
      const mean = along.reduce((a, x, v) => a + x * (chances[v] as number), 0)
      for (let v = 0; v < vocab; v++) {
        const at = i * vocab + v
        sum[at] = (sum[at] as number) + (chances[v] as number) * ((along[v] as number) - mean)
      }
    }
  }
}

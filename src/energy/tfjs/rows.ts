/** Turns rows of the engine's calls into tensors: the landscapes they descend, their starts, their noise. */
import { contextOffset, stateWidth } from '../../model/config.js'
import { normals } from '../../refine/random.js'
import type { BeginRow, DescendRow } from '../engine.js'
import { checkRange } from '../range.js'
import type { Tensor } from './backend.js'
import type { Contexts } from './contexts.js'
import { draft } from './descent.js'
import { Landscape } from './landscape.js'
import type { Network } from './network.js'
import type { Slot } from './slots.js'

/** The landscapes that these rows descend, each over the context of its slot. */
export function landscapeOf(
  network: Network,
  contexts: Contexts,
  slots: readonly { contextId: number; clamped: readonly number[] | undefined }[],
  rows: readonly { landscape: number }[],
  block = network.config.answer.block,
): Landscape {
  const { tf, config: model } = network
  const landscapes = rows.map((row) => {
    checkRange('landscape', row.landscape, model.landscapes)
    return row.landscape
  })
  const rowContexts = slots.map(({ contextId }, i) => ({
    contextId,
    landscape: landscapes[i] as number,
  }))
  const positions = slots.map(({ contextId }) => {
    const from = contextOffset(model) + contexts.length(contextId)
    return Array.from({ length: block }, (_, i) => from + i)
  })
  const clamped = slots.map((slot) => slot.clamped ?? new Array<number>(block).fill(-1))
  const some = slots.some((slot) => slot.clamped)
  const shape: [number, number] = [slots.length, block]
  const inCandidate = model.conditioning === 'candidate' || model.conditioning === 'adaln'
  return new Landscape(network, {
    context: contexts.assemble(rowContexts, block),
    rotary: network.rotary(positions),
    block,
    step: inCandidate ? network.stepEmbedding(landscapes) : null,
    moving: some
      ? tf.tensor3d(
          clamped.flat().map((t) => (t < 0 ? 1 : 0)),
          [...shape, 1],
        )
      : null,
    clamped: some
      ? tf.tensor2d(
          clamped.flat().map((t) => Math.max(t, 0)),
          shape,
          'int32',
        )
      : null,
  })
}

/** Where a descent begins, [1, K, W]. */
export function startOf(network: Network, contexts: Contexts, row: BeginRow): Tensor {
  const { tf, config: model } = network
  const shape: [number, number, number] = [1, model.answer.block, stateWidth(model)]
  const size = shape[1] * shape[2]
  if (row.start) return tf.tensor3d(row.start.slice(), shape)
  const { start, start_scale: scale } = model.answer
  if (start === 'noise')
    return tf.mul(tf.tensor3d(normals(row.seed, row.candidate, -1, size), shape), scale)
  if (start === 'zeros') return tf.zeros(shape)
  return draft(
    network,
    landscapeOf(
      network,
      contexts,
      [{ contextId: row.contextId, clamped: row.clamped }],
      [{ landscape: 0 }],
    ),
    tf.zeros(shape),
  )
}

/** Langevin noise of the rows that ask for it, zero at clamped positions; null if none does. */
export function noiseOf(
  network: Network,
  rows: readonly DescendRow[],
  slots: readonly Slot[],
): Tensor | null {
  const { tf, config } = network
  if (rows.every((row) => row.noise === 0)) return null
  const [block, width] = [config.answer.block, stateWidth(config)]
  const all = new Float32Array(rows.length * block * width)
  rows.forEach((row, i) => {
    const { seed, candidate, clamped } = slots[i] as Slot
    if (row.noise === 0) return
    normals(seed, candidate, row.step, block * width).forEach((x, at) => {
      if ((clamped?.[Math.floor(at / width)] ?? -1) < 0) all[i * block * width + at] = x * row.noise
    })
  })
  return tf.tensor3d(all, [rows.length, block, width])
}

/**
 * An objective turns a batch into a scalar whose gradient trains the energy. Each objective is one file;
 * the training loop knows only this interface.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { draft } from '../../energy/tfjs/descent.js'
import { Landscape } from '../../energy/tfjs/landscape.js'
import type { Context, Network, Rotary } from '../../energy/tfjs/network.js'
import { prefixMask } from '../../energy/tfjs/network.js'
import type { Setting } from '../../energy/tfjs/landscape.js'
import {
  contextCaches,
  draftsFromContext,
  landscapeOf,
  stateWidth,
  type ModelConfig,
} from '../../model/config.js'
import type { Float32Tensor } from '../../model/safetensors.js'
import { normals } from '../../refine/random.js'
import { movingCounts, type Batch } from '../data/training-batch.js'

/** The result of an objective for one batch. Its tensors belong to the scope in which it was computed. */
export interface Update {
  /** The scalar that is minimised. */
  value: Tensor
  /** Cross-entropy in nats per moving position after each step with a loss, scalars, for the log. */
  losses: readonly Tensor[]
  /** Further figures of the update by name, scalars, for the log and the metrics. */
  measures?: Readonly<Record<string, Tensor>>
  /** By parameter name; parameters that take no part are absent. */
  gradients: ReadonlyMap<string, Tensor>
  /** What the objective's memory takes in, once the tensors are read. */
  remembered?: { tensors: readonly Tensor[]; take: (numbers: readonly Float32Array[]) => void }
}

/** Random numbers of one update: uniform in (0, 1), a function of (seed, update, draw). */
export type Draw = () => number

export interface Objective {
  readonly name: string
  /** Throws `not_supported` if the objective cannot train this configuration. */
  check(config: ModelConfig): void
  update(network: Network, inputs: Inputs, draw: Draw): Update
  /** State that it carries from update to update, if any. */
  readonly memory?: Memory
}

/** State of an objective that a checkpoint must hold, so that a resumed run continues exactly. */
export interface Memory {
  save(): Map<string, Float32Tensor>
  restore(tensors: ReadonlyMap<string, Float32Tensor>): void
}

/** A batch on the backend. */
export interface Inputs {
  batch: Batch
  /** [B, T] int32 */
  observed: Tensor
  /** [B, N] int32 */
  targets: Tensor
  /** [B, N] */
  weights: Tensor
  /** [B, N, 1], or null if no position is clamped. */
  moving: Tensor | null
  /** Number of moving positions in the batch. */
  count: number
  /** [B, M]: 1 for answers with a moving position, of which there are `answerCount`. */
  answers: Tensor
  answerCount: number
  observedRotary: Rotary
  rotary: Rotary
  mask: Tensor
}

export function inputsOf(network: Network, batch: Batch): Inputs {
  const { tf, config } = network
  const n = batch.answers * config.answer.block
  const offset = config.conditioning === 'time_embed' ? 1 : 0
  const span = Array.from({ length: batch.length + offset }, (_, i) => i)
  const weights = tf.tensor2d(batch.moving, [batch.rows, n])
  const moves = movingCounts(batch).map((count) => (count > 0 ? 1 : 0))
  return {
    batch,
    observed: tf.tensor2d(batch.observed, [batch.rows, batch.length], 'int32'),
    targets: tf.tensor2d(batch.targets, [batch.rows, n], 'int32'),
    weights,
    moving: batch.clamped ? tf.expandDims(weights, 2) : null,
    count: batch.moving.reduce((a, b) => a + b, 0),
    answers: tf.tensor2d(moves, [batch.rows, batch.answers]),
    answerCount: moves.reduce<number>((sum, one) => sum + one, 0),
    observedRotary: network.rotary([span]),
    rotary: network.rotary(batch.positions),
    mask: prefixMask(
      tf,
      batch.visible.map((row) => row.map((seen) => seen + offset)),
      batch.length + offset,
    ),
  }
}

/** The observed stream of a batch under one landscape, which its candidates attend to. */
export function contextOf(
  network: Network,
  inputs: Inputs,
  landscape: number,
  { layers, hidden } = observeBatch(network, inputs, landscape),
): Context {
  const drafts = draftsFromContext(network.config)
  return { layers, mask: inputs.mask, hidden: drafts ? beforeEach(network, inputs, hidden) : null }
}

/** The observed stream's output at the token before each candidate: [B, T, D] -> [B, N, D]. */
function beforeEach({ tf }: Network, { batch }: Inputs, hidden: Tensor): Tensor {
  const [first] = batch.visible as [readonly number[]]
  const rows = batch.visible.map((row) => row.map((seen) => Math.max(seen - 1, 0)))
  if (rows.length > 1) return tf.gather(hidden, tf.tensor2d(rows, undefined, 'int32'), 1, 1)
  const inOrder = first.length === batch.length && first.every((seen, i) => seen === i + 1)
  return inOrder ? hidden : tf.gather(hidden, tf.tensor1d(rows[0] as number[], 'int32'), 1)
}

export function observeBatch(network: Network, inputs: Inputs, landscape: number) {
  const { tf, config } = network
  const step =
    config.conditioning === 'adaln' || config.conditioning === 'time_embed'
      ? stepOf(network, inputs, landscape)
      : null
  const embedded = network.embed(inputs.observed)
  const x = config.conditioning === 'time_embed' && step ? tf.concat([step, embedded], 1) : embedded
  return network.observe(
    x,
    null,
    inputs.observedRotary,
    config.conditioning === 'adaln' ? step : null,
  )
}

/** Step embedding of a landscape for every row, or null without conditioning. */
export const stepOf = (network: Network, inputs: Inputs, landscape: number): Tensor | null =>
  network.config.conditioning === 'none'
    ? null
    : network.stepEmbedding(new Array<number>(inputs.batch.rows).fill(landscape))

/** The arguments of a Landscape, for a batch and a context. */
export function settingOf(
  network: Network,
  inputs: Inputs,
  context: Context,
  landscape: number,
): Setting {
  const { conditioning, answer } = network.config
  const inCandidate = conditioning === 'candidate' || conditioning === 'adaln'
  return {
    context,
    rotary: inputs.rotary,
    block: answer.block,
    step: inCandidate ? stepOf(network, inputs, landscape) : null,
    moving: inputs.moving,
    clamped: inputs.moving ? inputs.targets : null,
  }
}

/**
 * The landscapes of a batch by step. A context is observed once, when it is first needed; this must not
 * happen within a tidy, which would free a context that later steps need. `observed`: the stream of the first
 * landscape, where it is known.
 */
export function landscapesOf(
  network: Network,
  inputs: Inputs,
  observed?: ReturnType<typeof observeBatch>,
): (step: number) => Landscape {
  const contexts: (Context | undefined)[] = observed
    ? [contextOf(network, inputs, 0, observed)]
    : []
  return (step) => {
    const t = landscapeOf(network.config, step)
    const cache = Math.min(t, contextCaches(network.config) - 1)
    const context = (contexts[cache] ??= contextOf(network, inputs, cache))
    return new Landscape(network, settingOf(network, inputs, context, t))
  }
}

/** The model's starting point for every answer of a batch, [B, N, W]. */
export function startOf(
  network: Network,
  inputs: Inputs,
  landscape: Landscape,
  seed: number,
): Tensor {
  const { tf, config } = network
  const { rows, answers, start } = inputs.batch
  const shape = [rows, answers * config.answer.block, stateWidth(config)] as [
    number,
    number,
    number,
  ]
  const size = shape[0] * shape[1] * shape[2]
  if (start) return tf.tensor3d(start, shape)
  if (config.answer.start === 'noise')
    return tf.mul(tf.tensor3d(normals(seed, 0, -1, size), shape), config.answer.start_scale)
  return config.answer.start === 'draft'
    ? draft(network, landscape, tf.zeros(shape))
    : tf.zeros(shape)
}

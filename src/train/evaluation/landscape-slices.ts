/**
 * The energy along lines and on a plane through the answers that descent finds, and two figures of such
 * slices: their number of local minima and their roughness. The unit of distance is the Euclidean norm
 * of the true answer's state. Definitions: docs/training.md.
 */
import type { Tensor } from '../../energy/tfjs/backend.js'
import { basePoint, descend, logitsOf } from '../../energy/tfjs/descent.js'
import type { Landscape } from '../../energy/tfjs/landscape.js'
import type { Network } from '../../energy/tfjs/network.js'
import { holding, readTensors } from '../../energy/tfjs/read-tensors.js'
import { stateWidth } from '../../model/config.js'
import { normals } from '../../refine/random.js'
import { movingCounts, rowOf, type Batch } from '../data/training-batch.js'
import { crossEntropy } from '../loss.js'
import { inputsOf, landscapesOf, startOf, type Inputs } from '../objectives/objective.js'
import { stateOf } from '../objectives/start.js'
import { alphaOf } from '../learned-step-size.js'
import { mean } from './statistics.js'

export interface Slice {
  direction: 'random' | 'loss-gradient'
  /** Distances from the answer found. */
  at: number[]
  /** [answers][points]: the energy minus that of the answer found. */
  energies: number[][]
}

export interface Plane {
  /** Distances along each axis. The first axis points from the answer found to the start. */
  at: number[]
  /** [points][points] of one answer: rows along the second axis, columns along the first. */
  energies: number[][]
  /** [steps + 1] of (first, second): the states of the descent, projected onto the plane. */
  path: [number, number][]
  /** The true answer, projected onto the plane. */
  truth: [number, number]
}

export interface SliceOptions {
  seed: number
  /** Number of descent steps. */
  steps: number
  /** Number of points of a line. */
  points: number
  /** Number of points along each side of the plane. */
  grid: number
  /** Largest distance on a line, to either side. */
  reach: number
}

/** The number of interior points that are lower than both neighbours. */
export const localMinima = (energies: readonly number[]): number =>
  energies.filter(
    (e, i) => e < (energies[i - 1] ?? -Infinity) && e < (energies[i + 1] ?? -Infinity),
  ).length

/**
 * The sum of all rises and falls divided by the range: 1 for a line that only rises or only falls, at
 * most 2 for a line with a single minimum, more for a rough one.
 */
export function roughness(energies: readonly number[]): number {
  const changes = energies.slice(1).map((e, i) => Math.abs(e - (energies[i] as number)))
  const range = Math.max(...energies) - Math.min(...energies)
  return range === 0 ? 0 : changes.reduce((sum, change) => sum + change, 0) / range
}

export interface SliceFigures {
  minima: number
  roughness: number
}

export const figuresOf = ({ energies }: Slice): SliceFigures => ({
  minima: mean(energies.map(localMinima)),
  roughness: mean(energies.map(roughness)),
})

/** Lines through every answer of the batch, and a plane through its first answer. */
export async function sliceBatch(
  network: Network,
  batch: Batch,
  options: SliceOptions,
): Promise<{ lines: Slice[]; plane: Plane }> {
  const sliced = async <T>(part: Batch, slices: (slicer: LandscapeSlicer) => Promise<T>) => {
    const slicer = holding(network.tf, () => new LandscapeSlicer(network, part, options))
    try {
      return await slices(slicer.held)
    } finally {
      slicer.free()
    }
  }
  const lines = await sliced(batch, async (slicer) => [
    await slicer.line('random'),
    await slicer.line('loss-gradient'),
  ])
  // A plane has many points, and each is computed for one row only.
  const plane = await sliced(rowOf(batch, 0), (slicer) => slicer.plane())
  return { lines, plane }
}

/** One batch, its descent, and the landscape around the states in which the descent ended. */
class LandscapeSlicer {
  private readonly inputs: Inputs
  private readonly landscape: Landscape
  /** [steps + 1] base points [B, N, W] of the descent, the start first. */
  private readonly path: Tensor[]
  /** Norm of the true answer's state, [B, M]: the unit of distance. */
  private readonly unit: Tensor
  /** Indices in [B, M] of the answers with a moving position. */
  private readonly counted: number[]

  constructor(
    private readonly network: Network,
    batch: Batch,
    private readonly options: SliceOptions,
  ) {
    const { tf } = network
    this.inputs = inputsOf(network, batch)
    const landscapeAt = landscapesOf(network, this.inputs)
    this.landscape = landscapeAt(options.steps)
    this.path = this.descent(landscapeAt)
    this.unit = tf.sqrt(this.byAnswer(tf.square(stateOf(network, this.inputs.targets))))
    this.counted = movingCounts(batch).flatMap((count, i) => (count > 0 ? [i] : []))
  }

  async line(direction: Slice['direction']): Promise<Slice> {
    const { tf } = this.network
    const { points, reach } = this.options
    const at = Array.from({ length: points }, (_, i) => reach * ((2 * i) / (points - 1) - 1))
    const [centre, ...columns] = await readTensors(tf, () => {
      const along = this.normalize(direction === 'random' ? this.random(2) : this.lossGradient())
      return [
        this.energyAt(() => this.found),
        ...at.map((t) => this.energyAt(() => tf.add(this.found, tf.mul(along, t)))),
      ]
    })
    const energies = this.counted.map((a) =>
      columns.map((column) => (column[a] as number) - (centre?.[a] as number)),
    )
    return { direction, at, energies }
  }

  async plane(): Promise<Plane> {
    const { tf } = this.network
    const [start, found] = [this.path[0] as Tensor, this.found]
    const [apart] = await readTensors(tf, () => [tf.max(tf.abs(tf.sub(start, found)))])
    const axes = holding(tf, () => {
      const first = this.normalize(apart?.[0] === 0 ? this.random(3) : tf.sub(start, found))
      return { first, second: this.normalize(this.without(this.lossGradient(), first)) }
    })
    try {
      return await this.planeAlong(axes.held)
    } finally {
      axes.free()
    }
  }

  private async planeAlong({ first, second }: Record<'first' | 'second', Tensor>): Promise<Plane> {
    const { tf } = this.network
    const { grid } = this.options
    const [answer = 0] = this.counted
    const coordinates = await readTensors(tf, () =>
      [...this.path, stateOf(this.network, this.inputs.targets)].flatMap((state) => {
        const apart = tf.sub(state, this.found)
        return [this.coordinate(apart, first), this.coordinate(apart, second)]
      }),
    )
    const at = (i: number): number => coordinates[i]?.[answer] as number
    const projected = Array.from({ length: this.path.length + 1 }, (_, i): [number, number] => [
      at(2 * i),
      at(2 * i + 1),
    ])
    const furthest = Math.max(...projected.flat().map(Math.abs), 0.5)
    const places = Array.from(
      { length: grid },
      (_, i) => 1.2 * furthest * ((2 * i) / (grid - 1) - 1),
    )
    const energies: number[][] = []
    for (const v of places) {
      const row = await readTensors(tf, () =>
        places.map((u) =>
          this.energyAt(() => tf.add(this.found, tf.add(tf.mul(first, u), tf.mul(second, v)))),
        ),
      )
      energies.push(row.map((energy) => energy[answer] as number))
    }
    const truth = projected.pop() as [number, number]
    return { at: places, energies, path: projected, truth }
  }

  private get found(): Tensor {
    return this.path.at(-1) as Tensor
  }

  private descent(landscapeAt: (step: number) => Landscape): Tensor[] {
    const { network, inputs, options } = this
    const alpha = alphaOf(network)
    let state = startOf(network, inputs, landscapeAt(0), options.seed)
    const path = [basePoint(network, state, true)]
    for (let step = 0; step < options.steps; step++) {
      const stepOptions = { alpha, first: step === 0, noise: null }
      state = descend(network, landscapeAt(step), state, stepOptions).next
      path.push(basePoint(network, state, false))
    }
    return path
  }

  /** [B, M] */
  private energyAt(state: () => Tensor): Tensor {
    return this.network.tf.tidy(() => this.landscape.energy(state()).energy)
  }

  /** Gradient of the cross-entropy of the read-out at the answer found; the loss rises along it. */
  private lossGradient(): Tensor {
    const { network, inputs, landscape } = this
    const { targets, weights, count } = inputs
    return network.tf.grad((state: Tensor) => {
      const answer = landscape.energy(state).opinion ?? state
      return crossEntropy(network.tf, logitsOf(network, answer), targets, weights, count)
    })(this.found)
  }

  private random(stream: number): Tensor {
    const { config, tf } = this.network
    const [rows, n] = this.inputs.targets.shape as [number, number]
    const width = stateWidth(config)
    const noise = normals(this.options.seed, stream, 0, rows * n * width)
    return tf.tensor3d(noise, [rows, n, width])
  }

  /** Sums over the moving positions of each answer, [B, N, W] -> [B, M]. */
  private byAnswer(t: Tensor): Tensor {
    const { tf, config } = this.network
    const { batch, weights } = this.inputs
    const byPosition = tf.mul(tf.sum(t, 2), weights)
    return tf.sum(tf.reshape(byPosition, [batch.rows, batch.answers, config.answer.block]), 2)
  }

  /** [B, M] -> [B, N, 1] */
  private spread(t: Tensor): Tensor {
    const { tf, config } = this.network
    const [rows, n] = this.inputs.targets.shape as [number, number]
    const tiled = tf.tile(tf.expandDims(t, 2), [1, 1, config.answer.block])
    return tf.reshape(tiled, [rows, n, 1])
  }

  /** Scaled to the length of the unit in every answer, and zero in clamped positions. */
  private normalize(direction: Tensor): Tensor {
    const { tf } = this.network
    const length = tf.sqrt(tf.add(this.byAnswer(tf.square(direction)), 1e-24))
    const scaled = tf.mul(direction, this.spread(tf.div(this.unit, length)))
    return tf.mul(scaled, tf.expandDims(this.inputs.weights, 2))
  }

  /** `direction` minus its component along `axis`, answer by answer. */
  private without(direction: Tensor, axis: Tensor): Tensor {
    const { tf } = this.network
    const share = tf.div(this.byAnswer(tf.mul(direction, axis)), this.byAnswer(tf.square(axis)))
    return tf.sub(direction, tf.mul(axis, this.spread(share)))
  }

  /** [B, M] */
  private coordinate(state: Tensor, axis: Tensor): Tensor {
    const { tf } = this.network
    return tf.div(this.byAnswer(tf.mul(state, axis)), this.byAnswer(tf.square(axis)))
  }
}

/**
 * A picture of a descent: the plane in which most of its path lies, with the energy at the points of a
 * grid and the path laid onto it. The descent of the settled answer is taken once more, step by step,
 * since nobody kept its points; noise is a function of the seed, so it is the same descent. The two
 * directions are the principal components of the path about its end (Li et al. 2018, "Visualizing the
 * loss landscape of neural nets").
 */
import type { EnergyEngine } from '../../../energy/engine.js'
import { planStep } from '../../../refine/budget.js'
import { answerSeed } from '../../../refine/candidates.js'
import { normals } from '../../../refine/random.js'
import type { PlaneRequest, ProbePlane } from '../../protocol.js'
import { type Answer, inSlots, slotOf } from '../answers/answer.js'
import { BLANK } from '../answers/answer-shape.js'
import { type CandidateRow, candidateOf } from './request-state.js'

/** Most points of the path that are kept, its ends included. */
const PATH_POINTS = 129
/** Steps of the descent that one call takes again. */
const STEPS_PER_CALL = 8
/** Of the power method. */
const ITERATIONS = 64
/** Where a direction is drawn from if the path has but one: no candidate has so high a number. */
const RANDOM_DIRECTIONS = 2 ** 20
const LEAST_LENGTH = 1e-12
/** Of the extent of the path, on each side of it. */
const MARGIN = 0.35

const dot = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0)

/** The eigenvector of the largest eigenvalue of a symmetric matrix, and that value. */
function dominant(matrix: readonly Float64Array[]): { value: number; vector: number[] } {
  let vector = matrix.map((_, i) => 1 + i / matrix.length)
  let value = 0
  for (let round = 0; round < ITERATIONS; round++) {
    const next = matrix.map((row) => row.reduce((sum, x, j) => sum + x * (vector[j] as number), 0))
    value = Math.hypot(...next)
    if (value <= LEAST_LENGTH) return { value: 0, vector }
    vector = next.map((x) => x / value)
  }
  return { value, vector }
}

/** The same matrix without what one eigenvector explains. */
const deflated = (
  matrix: readonly Float64Array[],
  { value, vector }: { value: number; vector: readonly number[] },
): Float64Array[] =>
  matrix.map((row, i) =>
    row.map((x, j) => x - value * (vector[i] as number) * (vector[j] as number)),
  )

interface Axes {
  /** Unit vectors, [K, W]. */
  first: Float32Array
  second: Float32Array
  /** Share of the path's squared distances from its end that lies in the plane. */
  explained: number
}

interface Grid extends Axes {
  x: number[]
  y: number[]
  /** Row after row. */
  energies: number[]
  path: { x: number; y: number; energy: number }[]
}

export class PlaneProbe {
  /** The points of the path, [K, W] each, and the energies there. */
  private readonly points: Float32Array[] = []
  private readonly energies: number[] = []
  private grid: Grid | undefined
  private taken = 0
  private readonly steps: number
  /** Every so many steps a point is kept. */
  private readonly every: number
  private readonly slots: readonly number[]

  private readonly answer: Answer
  private readonly slot: number
  private begun = false

  /** `chosen`: the candidate whose descent is drawn. */
  constructor(
    private readonly chosen: CandidateRow,
    private readonly asked: PlaneRequest,
  ) {
    const { answer, candidate } = candidateOf(chosen)
    this.answer = answer
    this.slot = slotOf(candidate)
    this.slots = inSlots(answer).map(({ slot }) => slot)
    this.steps = candidate.progress.steps
    this.every = Math.max(1, Math.ceil(this.steps / (PATH_POINTS - 1)))
  }

  get result(): ProbePlane {
    const { energies, explained, path, x, y } = this.grid ?? this.lay()
    const width = x.length
    return {
      x,
      y,
      energies: y.map((_, row) => energies.slice(row * width, (row + 1) * width)),
      path,
      explained,
    }
  }

  /** A few steps of the path, or a few points of the grid. True when there are no more. */
  async advance(engine: EnergyEngine): Promise<boolean> {
    if (!this.begun) {
      this.begun = true
      await this.begin(engine, this.slot)
      await this.keep(engine)
    }
    if (this.taken < this.steps) {
      await this.walk(engine)
      return false
    }
    this.grid ??= this.lay()
    const { energies, first, second, x, y } = this.grid
    const most = Math.min(this.slots.length, x.length * y.length - energies.length)
    const centre = this.points.at(-1) as Float32Array
    const slots = this.slots.slice(0, most)
    for (const [i, slot] of slots.entries()) {
      const at = energies.length + i
      const u = x[at % x.length] as number
      const v = y[Math.floor(at / x.length)] as number
      const start = centre.map((c, j) => c + u * (first[j] as number) + v * (second[j] as number))
      await this.begin(engine, slot, start)
    }
    energies.push(...(await energiesAt(engine, slots)))
    return energies.length >= x.length * y.length
  }

  private async walk(engine: EnergyEngine): Promise<void> {
    const { limits } = this.answer
    const { slot } = this
    const { landscapes } = engine.model
    const end = Math.min(this.steps, this.taken + STEPS_PER_CALL)
    for (; this.taken < end; this.taken++) {
      const step = this.taken
      await engine.descend([{ slot, step, ...planStep(limits, step, landscapes) }])
      const last = step === this.steps - 1
      if (last || (step + 1) % this.every === 0) await this.keep(engine)
    }
  }

  /** Notes where the descent stands. Energies are those of the last landscape, as in the grid. */
  private async keep(engine: EnergyEngine): Promise<void> {
    const [point] = await engine.points([{ slot: this.slot, which: 'present' }])
    this.points.push(this.moving(point as Float32Array))
    this.energies.push(...(await energiesAt(engine, [this.slot])))
  }

  /** `start` absent: where the answer's own descent began. */
  private async begin(engine: EnergyEngine, slot: number, start?: Float32Array): Promise<void> {
    const { clamped, index } = this.answer.shape
    const { contextId, request } = this.chosen.state
    const seed = answerSeed(request.sampling.seed, index)
    const candidate = this.chosen.index
    await engine.begin([
      { slot, contextId, seed, candidate, ...(clamped && { clamped }), ...(start && { start }) },
    ])
  }

  /** The plane, and the grid on it that holds the path with room around. */
  private lay(): Grid {
    const centre = this.points.at(-1) as Float32Array
    const away = this.points.map((point) => point.map((x, i) => x - (centre[i] as number)))
    const axes = this.axes(away)
    const path = away.map((vector, i) => ({
      x: dot(vector, axes.first),
      y: dot(vector, axes.second),
      energy: this.energies[i] as number,
    }))
    const span = (of: readonly number[], least: number): number[] => {
      const [low, high] = [Math.min(...of), Math.max(...of)]
      const extent = Math.max(high - low, least)
      const middle = (low + high) / 2
      const reach = extent * (0.5 + MARGIN)
      const { points } = this.asked
      return Array.from({ length: points }, (_, i) => middle + reach * ((2 * i) / (points - 1) - 1))
    }
    const [xs, ys] = [path.map(({ x }) => x), path.map(({ y }) => y)]
    const width = Math.max(...xs) - Math.min(...xs)
    // A straight path has no extent of its own across.
    const least = Math.max(width / 3, LEAST_LENGTH)
    return { ...axes, x: span(xs, 1e-3), y: span(ys, least || 1), energies: [], path }
  }

  private axes(away: readonly Float32Array[]): Axes {
    const gram = away.map((a) => Float64Array.from(away, (b) => dot(a, b)))
    const total = gram.reduce((sum, row, i) => sum + (row[i] as number), 0)
    const one = dominant(gram)
    const two = dominant(deflated(gram, one))
    const first = this.direction(away, one.vector) ?? this.drawn(0)
    const across =
      two.value > 1e-9 * one.value ? this.direction(away, two.vector, first) : undefined
    const second = across ?? this.drawn(1, first)
    const explained = total > LEAST_LENGTH ? Math.min(1, (one.value + two.value) / total) : 1
    return { first, second, explained }
  }

  /** The unit vector of a combination, without its share along `other`. */
  private direction(
    vectors: readonly Float32Array[],
    weights: readonly number[],
    other?: Float32Array,
  ): Float32Array | undefined {
    const sum = new Float32Array((vectors[0] as Float32Array).length)
    vectors.forEach((vector, i) => {
      vector.forEach((x, j) => (sum[j] = (sum[j] as number) + (weights[i] as number) * x))
    })
    return unit(other ? across(sum, other) : sum)
  }

  private drawn(index: number, other?: Float32Array): Float32Array {
    const { seed } = this.chosen.state.request.sampling
    const length = (this.points[0] as Float32Array).length
    const any = this.moving(normals(seed, RANDOM_DIRECTIONS + index, 0, length))
    return unit(other ? across(any, other) : any) ?? any
  }

  /** Zero at clamped positions, which do not take part. */
  private moving(vector: Float32Array): Float32Array {
    const { clamped } = this.answer.shape
    if (!clamped) return vector
    const width = vector.length / clamped.length
    return vector.map((x, i) => (clamped[Math.floor(i / width)] === BLANK ? x : 0))
  }
}

/** On the last landscape. */
async function energiesAt(engine: EnergyEngine, slots: readonly number[]): Promise<number[]> {
  const landscape = engine.model.landscapes - 1
  const results = await engine.energy(slots.map((slot) => ({ slot, landscape })))
  return results.map(({ energy }) => energy)
}

function across(vector: Float32Array, axis: Float32Array): Float32Array {
  const along = dot(vector, axis)
  return vector.map((x, i) => x - along * (axis[i] as number))
}

function unit(vector: Float32Array): Float32Array | undefined {
  const length = Math.sqrt(dot(vector, vector))
  return length > LEAST_LENGTH ? vector.map((x) => x / length) : undefined
}

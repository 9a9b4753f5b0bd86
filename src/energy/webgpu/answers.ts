/** Reading the answers in slots: read-outs, draws, and their numbers. */
import type { PointRow, Readout, ReadRow } from '../engine.js'
import { readLogits } from '../readout.js'
import type { SlotTable } from '../slot-table.js'
import type { Activations } from './activations.js'
import type { Device } from './device.js'
import { flag, mostTop } from './kernels/source.js'
import { withRowWidth } from './padding.js'
import type { Programs, State } from './program.js'
import type { DeviceRow } from './device-rows.js'
import type { Runner } from './runner.js'
import type { Shape } from './shape.js'
import { statesOf } from './state.js'
import { softmax, type TokenVectors } from './token-vectors.js'

const none = new Float32Array(0)

/** How a row is read: what crosses to the host is as little as it asks for. */
type Way = 'draw' | 'top' | 'logits'

const wayOf = ({ allowed, draws, top }: ReadRow): Way => {
  // The kernels that draw and sort know of no tokens that are not allowed.
  if (allowed) return 'logits'
  if (draws) return 'draw'
  return top === 'all' || top > mostTop ? 'logits' : 'top'
}

const floatBits = (numbers: readonly number[]): Int32Array =>
  new Int32Array(Float32Array.from(numbers).buffer)

interface Made {
  device: Device
  shape: Shape
  state: State
  activations: Activations
  programs: Programs
  runner: Runner
  slots: SlotTable
  vectors: TokenVectors
}

export class Answers {
  constructor(private readonly made: Made) {}

  async read(rows: readonly ReadRow[]): Promise<Readout[]> {
    const readouts = new Array<Readout>(rows.length)
    const groups = new Map<string, number[]>()
    for (const [i, row] of rows.entries()) {
      this.made.slots.get(row.slot)
      const way = wayOf(row)
      const key = way === 'top' ? `${way} ${row.top}` : way
      groups.set(key, [...(groups.get(key) ?? []), i])
    }
    for (const group of groups.values()) {
      const wanted = group.map((i) => rows[i] as ReadRow)
      const read = await this.readAlike(wanted)
      group.forEach((i, at) => (readouts[i] = read[at] as Readout))
    }
    return readouts
  }

  async points(rows: readonly PointRow[]): Promise<Float32Array[]> {
    for (const { slot } of rows) this.made.slots.get(slot)
    const isPresent = ({ which }: PointRow): boolean => which === 'present'
    const present = await statesOf(
      this.made,
      rows.filter(isPresent).map(({ slot }) => slot),
    )
    const embedded = await this.answers(rows.filter((row) => !isPresent(row)))
    return rows.map((row) => (isPresent(row) ? present : embedded).shift() as Float32Array)
  }

  private row({ slot, which }: Pick<ReadRow, 'slot' | 'which'>): DeviceRow {
    const { block } = this.made.shape
    const { contextId } = this.made.slots.get(slot)
    return {
      slot,
      contextId,
      context: 0,
      position: 0,
      landscape: 0,
      own: block,
      flags: { best: flag.best, last: 0, present: flag.present }[which],
    }
  }

  /** Embeddings of answers, [K][D]. */
  private async answers(rows: readonly PointRow[]): Promise<Float32Array[]> {
    const { activations, programs, runner, shape } = this.made
    const { block, ldState, stateWidth } = shape
    const points: Float32Array[] = []
    const size = block * ldState
    await runner.eachPass(
      {
        rows: rows.map((row) => this.row(row)),
        rounds: [rows.length],
        block,
        programs: () => [{ program: programs.answers }],
      },
      ({ answers }) => [{ buffer: activations.base, from: 0, bytes: 4 * size * answers }],
      ([data], _, count) => {
        for (let i = 0; i < count; i++) {
          const answer = new Float32Array(data as ArrayBuffer, 4 * size * i, size)
          const unpadded = withRowWidth(answer, block, stateWidth)
          points.push(shape.latent ? unpadded : this.expected(unpadded))
        }
      },
    )
    return points
  }

  private async readAlike(rows: readonly ReadRow[]): Promise<Readout[]> {
    const { activations, programs, runner, shape, state } = this.made
    const { block, ldVocab, vocab } = shape
    const first = rows[0] as ReadRow
    const way = wayOf(first)
    const top = way === 'top' ? Math.min(Number(first.top), vocab) : 0
    const readouts: Readout[] = []
    const bytes = { draw: 4, top: 8 * mostTop, logits: 4 * ldVocab }[way]
    const buffer = { draw: state.drawn, top: state.top, logits: activations.logits }[way]

    await runner.eachPass(
      {
        rows: rows.map((row) => ({ ...this.row(row), alpha: row.temperature ?? 0 })),
        rounds: [rows.length],
        block,
        top,
        programs: () => [{ program: programs[way] }],
      },
      ({ positions }) => [{ buffer, from: 0, bytes: bytes * positions }],
      ([data], from, count) => {
        for (let i = 0; i < count; i++) {
          const part = (data as ArrayBuffer).slice(i * block * bytes, (i + 1) * block * bytes)
          readouts.push(this.readout(way, part, rows[from + i] as ReadRow, top))
        }
      },
      way === 'draw' ? (row) => floatBits(rows[row]?.draws ?? []) : undefined,
    )
    return readouts
  }

  private readout(way: Way, data: ArrayBuffer, row: ReadRow, top: number): Readout {
    if (way === 'draw') return this.drawn(data)
    return way === 'top' ? this.likeliest(data, top) : this.whole(data, row)
  }

  private drawn(data: ArrayBuffer): Readout {
    const { vocab } = this.made.shape
    const tokens = Int32Array.from(new Uint32Array(data), (token) => (token < vocab ? token : -1))
    return { tokens, logProbs: none, logits: none, weights: none }
  }

  private likeliest(data: ArrayBuffer, top: number): Readout {
    const { block } = this.made.shape
    const [ids, bits] = [new Uint32Array(data), new Float32Array(data)]
    const at = (i: number): number => 2 * (Math.floor(i / top) * mostTop + (i % top))
    const each = { length: block * top }
    return {
      tokens: Int32Array.from(each, (_, i) => ids[at(i)] as number),
      logProbs: Float32Array.from(each, (_, i) => bits[at(i) + 1] as number),
      logits: none,
      weights: none,
    }
  }

  private whole(data: ArrayBuffer, row: ReadRow): Readout {
    const { block, vocab } = this.made.shape
    const { clamped } = this.made.slots.get(row.slot)
    return readLogits(withRowWidth(new Float32Array(data), block, vocab), block, row, clamped)
  }

  /** Embeddings expected under softmax(z), [K][D], for z [K][V]. */
  private expected(z: Float32Array): Float32Array {
    const { shape, vectors } = this.made
    const { block, dim, vocab } = shape
    const points = new Float32Array(block * dim)
    for (let i = 0; i < block; i++) {
      const sums = new Float64Array(dim)
      for (const [v, p] of softmax(z.subarray(i * vocab, (i + 1) * vocab)).entries())
        for (let c = 0; c < dim; c++) sums[c] = (sums[c] as number) + p * vectors.entry(v, c)
      points.set(sums, i * dim)
    }
    return points
  }
}

/**
 * A replay buffer (Du and Mordatch 2019; the published EBT's S2): states that earlier descents ended in,
 * with all that is needed to continue them. The oldest rows leave first. The buffer is part of a
 * checkpoint, so that a resumed run draws the same rows as an uninterrupted one. It is held in memory:
 * the state of a row takes 4 N W bytes.
 */
import type { Float32Tensor } from '../model/safetensors.js'
import { rowOf, type Batch } from './data/training-batch.js'

export interface ReplayOptions {
  /** Rows held at most (reference: mcmc_replay_buffer_size). */
  size: number
  /** Replayed rows per fresh row of a batch (reference: mcmc_replay_buffer_sample_bs_percent). */
  share: number
}

/** A batch of one row whose `start` is the state it was left in. */
type Kept = Batch & { start: Float32Array }

export class ReplayBuffer {
  #rows: Kept[] = []

  constructor(private readonly options: ReplayOptions) {}

  get length(): number {
    return this.#rows.length
  }

  /** Keeps those of the first `rows` rows of a batch that `wanted` names, with their states [B, N, W]. */
  add(
    batch: Batch,
    states: Float32Array,
    rows = batch.rows,
    wanted: (row: number) => boolean = () => true,
  ): void {
    const width = states.length / batch.rows
    for (let row = 0; row < rows; row++) {
      if (!wanted(row)) continue
      const start = states.slice(row * width, (row + 1) * width)
      this.#rows.push({ ...rowOf(batch, row), start })
    }
    this.#rows.splice(0, this.#rows.length - this.options.size)
  }

  /** Draws `share` rows for each of `fresh` rows, all different; fewer while the buffer holds fewer. */
  sample(fresh: number, draw: () => number): Kept[] {
    const places = this.#rows.map((_, i) => i)
    const count = Math.min(places.length, Math.floor(fresh * this.options.share))
    return Array.from({ length: count }, (_, i) => {
      const j = i + Math.floor(draw() * (places.length - i))
      const chosen = places[j] as number
      places[j] = places[i] as number
      return this.#rows[chosen] as Kept
    })
  }

  /** Rows are padded to one length. Numbers are float32, which holds token ids exactly up to 2^24. */
  save(): Map<string, Float32Tensor> {
    const [first] = this.#rows
    if (!first) return new Map()
    const count = this.#rows.length
    const longest = Math.max(...this.#rows.map((row) => row.length))
    const stack = (width: number, of: (row: Kept) => ArrayLike<number>): Float32Tensor => {
      const data = new Float32Array(count * width)
      this.#rows.forEach((row, i) => data.set(of(row), i * width))
      return { shape: [count, width], data }
    }
    const n = first.targets.length
    return new Map([
      ['replay/length', stack(1, (row) => [row.length])],
      ['replay/answers', stack(1, (row) => [row.answers])],
      ['replay/clamped', stack(1, (row) => [row.clamped ? 1 : 0])],
      ['replay/observed', stack(longest, (row) => row.observed)],
      ['replay/visible', stack(n, (row) => row.visible[0] ?? [])],
      ['replay/positions', stack(n, (row) => row.positions[0] ?? [])],
      ['replay/targets', stack(n, (row) => row.targets)],
      ['replay/moving', stack(n, (row) => row.moving)],
      ['replay/state', stack(first.start.length, (row) => row.start)],
    ])
  }

  restore(tensors: ReadonlyMap<string, Float32Tensor>): void {
    const count = tensors.get('replay/length')?.shape[0] ?? 0
    const cut = (name: string, row: number): Float32Array => {
      const { shape, data } = tensors.get(`replay/${name}`) as Float32Tensor
      const width = shape[1] as number
      return data.slice(row * width, (row + 1) * width)
    }
    this.#rows = Array.from({ length: count }, (_, row) => {
      const length = cut('length', row)[0] as number
      return {
        rows: 1,
        length,
        answers: cut('answers', row)[0] as number,
        clamped: cut('clamped', row)[0] === 1,
        observed: Int32Array.from(cut('observed', row).subarray(0, length)),
        visible: [[...cut('visible', row)]],
        positions: [[...cut('positions', row)]],
        targets: Int32Array.from(cut('targets', row)),
        moving: cut('moving', row),
        start: cut('state', row),
      }
    })
  }
}

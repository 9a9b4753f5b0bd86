/** Rows of a submission as the device reads them, and how they are cut into passes. Numbers only. */
import { seedWords } from '../../refine/random.js'
import type { Round } from './program.js'
import type { Shape } from './shape.js'

/** One answer of a pass, or one observed token. Numbers of `Row` in kernels/source.ts. */
export interface DeviceRow {
  slot: number
  contextId: number
  /** Keys of the context that it sees, the step token included. */
  context: number
  /** Rotary position of its first position. */
  position: number
  landscape: number
  /** Positions of its own that exist. */
  own: number
  flags: number
  /** 0-based index of the step: seeds the noise. */
  step?: number
  /** Step size; of a draw, its temperature. */
  alpha?: number
  noise?: number
  seed?: number
  candidate?: number
  /** Of an observed token, itself; else where the row's uploaded tokens or chances begin. */
  token?: number
}

export const rowBytes = 64

/** Rows one after the other, in the order of `Row` in kernels/source.ts; `result` is a row's index. */
export function packRows(rows: readonly DeviceRow[], { caches }: Shape): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(rows.length * (rowBytes / 4))
  const floats = new Float32Array(words.buffer)
  rows.forEach((row, i) => {
    const { alpha = 0, candidate = 0, noise = 0, seed = 0, step = 0, token = 0 } = row
    const [low, high] = seedWords(seed)
    let at = i * (rowBytes / 4)
    words[at++] = row.slot
    words[at++] = row.contextId
    words[at++] = row.context
    words[at++] = row.position
    words[at++] = row.landscape
    words[at++] = row.own
    words[at++] = row.flags
    words[at++] = step
    floats[at++] = alpha
    floats[at++] = noise
    words[at++] = low
    words[at++] = high
    words[at++] = candidate >>> 0
    words[at++] = token
    words[at++] = Math.min(row.landscape, caches - 1)
    words[at] = i
  })
  return words
}

/** What limits a pass. */
export interface PassRoom {
  positions: number
  /** Numbers of scores. */
  scores: number
}

/**
 * Cuts rows of `block` positions each into passes, in order; none mixes rows of two rounds. `rounds`:
 * how many rows each round has.
 */
export function cutPasses(
  rows: readonly DeviceRow[],
  rounds: readonly number[],
  { block, heads, room }: { block: number; heads: number; room: PassRoom },
): Round[] {
  const passes: Round[] = []
  let next = 0
  for (const count of rounds) {
    const end = next + count
    while (next < end) {
      const first = next
      let stride = 0
      for (; next < end; next++) {
        const row = rows[next] as DeviceRow
        const wider = Math.max(stride, row.context + row.own)
        const positions = (next + 1 - first) * block
        const full = positions > room.positions || positions * heads * wider > room.scores
        if (full && next > first) break
        stride = wider
      }
      const answers = next - first
      passes.push({
        first,
        answers,
        block,
        stride,
        positions: answers * block,
        probe: false,
        top: 0,
      })
    }
  }
  return passes
}

/** The uniforms of a pass, as `Round` of kernels/source.ts. */
export const roundWords = (round: Round): number[] => [
  round.positions,
  round.answers,
  round.first,
  round.block,
  round.stride,
  round.probe ? 1 : 0,
  round.top,
  0,
]

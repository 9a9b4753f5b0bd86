/** Texts and answers as vectors: what the observed stream made of a text, where an answer settled. */
import type { SynchronousEngine, ObserveRow } from '../../energy/engine.js'
import type { Answer, Candidate } from './answer.js'
import type { RequestState } from './request-state.js'
import { MeanPool } from './mean-pool.js'

/**
 * Observes rows whose states are asked for. `bos`: at the beginning of every context, and no part of
 * its text.
 */
export function observeStates(
  engine: SynchronousEngine,
  rows: readonly { state: RequestState; from: number; row: ObserveRow }[],
  bos: number | undefined,
): void {
  const parts = rows.map(({ from, row, state }) => {
    const skipped = from === 0 && bos !== undefined ? 1 : 0
    // Again, if it lost its pages.
    if (from === 0) state.states.clear()
    const head = { ...row, tokens: row.tokens.slice(0, skipped) }
    const rest = { ...row, from: from + skipped, tokens: row.tokens.slice(skipped) }
    return { state, head, rest }
  })
  engine.observe(parts.map(({ head }) => head).filter(({ tokens }) => tokens.length > 0))
  const texts = parts.filter(({ rest }) => rest.tokens.length > 0)
  engine.encode(texts.map(({ rest }) => rest)).forEach((sum, i) => {
    const { rest, state } = texts[i] as (typeof texts)[number]
    state.states.add(sum, rest.tokens.length)
  })
}

/** The mean over the positions that were inferred, [D]. */
export function representationOf(
  engine: SynchronousEngine,
  answer: Answer,
  candidate: Candidate,
): Float32Array {
  const { dim } = engine.model
  const [point] = engine.points([{ slot: candidate.slot, which: answer.reads(candidate) }])
  if (!point) throw new RangeError('the engine gave no point')
  const states = new MeanPool()
  for (let i = 0; i < answer.shape.length; i++) {
    if ((answer.shape.clamped?.[i] ?? -1) < 0) states.add(point.slice(i * dim, (i + 1) * dim), 1)
  }
  return states.mean
}

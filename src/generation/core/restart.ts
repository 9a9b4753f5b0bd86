/**
 * What the engine does where descents of an answer follow each other: the best one is saved before its slot is
 * given to another, states from which descents begin are read, and new descents begin. Changes no request.
 */
import type { EnergyEngine } from '../../energy/engine.js'
import { startFrom } from '../../refine/restarts.js'
import { slotOf } from './candidate.js'
import { BLANK } from './prepare.js'
import { type CandidateRow, candidateOf } from './request-state.js'
import type { Restarted, RestartRow } from './step-plan.js'

/** Begins the new descents of all rows, and returns what the old ones leave behind. */
export async function restartDescents(
  engine: EnergyEngine,
  rows: readonly RestartRow[],
): Promise<Restarted[]> {
  const restarted: Restarted[] = []
  for (const row of rows) {
    const slot = slotOf(candidateOf(row).candidate)
    const { saves, stands } = row.restart
    const saved = saves === undefined ? undefined : await engine.save(slot)
    const standing = stands ? await engine.points([{ slot, which: 'present' }]) : []
    restarted.push({ row, saved, standing: standing[0] })
  }
  const begin = rows.map((row) => {
    const { answer, candidate } = candidateOf(row)
    const { clamped, seed } = answer.shape
    const { descent } = row.restart
    const start = startOf(engine.model.answer.block, row, restarted)
    return {
      slot: slotOf(candidate),
      contextId: row.state.contextId,
      seed,
      candidate: descent,
      ...(clamped && { clamped }),
      ...(start && { start }),
    }
  })
  await engine.begin(begin)
  return restarted
}

/** [K, W]; undefined where the descent begins as the model's answers do. `block`: K. */
function startOf(
  block: number,
  row: RestartRow,
  restarted: readonly Restarted[],
): Float32Array | undefined {
  const { answer } = candidateOf(row)
  const { descent, start } = row.restart
  if (start.from === undefined) return undefined
  const now = restarted.find(
    ({ row: other }) => other.state === row.state && other.index === start.from,
  )
  const state = now?.standing ?? answer.series?.standingState(start.from)
  if (!state) throw new RangeError(`the state where candidate ${start.from} stands was not kept`)
  const { clamped, seed } = answer.shape
  const moving = Array.from({ length: block }, (_, i) => (clamped?.[i] ?? BLANK) === BLANK)
  return startFrom(state, start, moving, seed, descent)
}

/** Puts the stored descent of an answer into the slot of a candidate. Returns the state that was there. */
export async function swapDescent(engine: EnergyEngine, row: CandidateRow): Promise<Uint8Array> {
  const { answer, candidate } = candidateOf(row)
  const stored = answer.series?.storedState
  if (!stored) throw new RangeError('the descent to bring back was not saved')
  const slot = slotOf(candidate)
  const state = await engine.save(slot)
  await engine.restore(slot, row.state.contextId, stored)
  return state
}

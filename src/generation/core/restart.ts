/**
 * What the engine does where descents of an answer follow each other or commit positions: the best one is saved
 * before its slot is given to another, states and readouts from which descents begin are read, and descents
 * begin. Changes no request.
 */
import type { EnergyEngine } from '../../energy/engine.js'
import { commits } from '../../refine/commit.js'
import { startFrom } from '../../refine/restarts.js'
import { clampedOf, slotOf } from './answers/answer.js'
import { BLANK } from './answers/answer-shape.js'
import { beginRow, type CandidateRow, candidateOf } from './requests/request-state.js'
import type { Changed, ChangeRow, Restarted, RestartRow } from './step-plan.js'

/** The positions that move, of K, with these commits. */
function movingOf(
  block: number,
  row: CandidateRow,
  committed: readonly number[] | undefined,
): number[] {
  const { clamped } = candidateOf(row).answer.shape
  const known = clampedOf(clamped, { commits: committed }, BLANK)
  const all = Array.from({ length: block }, (_, position) => position)
  return all.filter((position) => (known?.[position] ?? BLANK) === BLANK)
}

const saveOf = async (
  engine: EnergyEngine,
  slot: number,
  saves: number | undefined,
): Promise<Uint8Array | undefined> => (saves === undefined ? undefined : engine.save(slot))

/** Weights of the tokens of an answer in descent, [K, V]. */
async function weightsOf(engine: EnergyEngine, slot: number): Promise<Float32Array> {
  const [readout] = await engine.read([{ slot, which: 'last', top: 'all', temperature: 1 }])
  if (!readout) throw new RangeError(`slot ${slot} was not read`)
  return readout.weights
}

/** Begins the new descents of all rows, and returns what the old ones leave behind. */
export async function restartDescents(
  engine: EnergyEngine,
  rows: readonly RestartRow[],
): Promise<Restarted[]> {
  const restarted: Restarted[] = []
  for (const row of rows) {
    const slot = slotOf(candidateOf(row).candidate)
    const { reads, saves, stands } = row.restart
    const saved = await saveOf(engine, slot, saves)
    const standing = stands ? await engine.points([{ slot, which: 'present' }]) : []
    const readout = reads ? await weightsOf(engine, slot) : undefined
    restarted.push({ row, saved, standing: standing[0], readout, commits: undefined })
  }
  const { block } = engine.model.answer
  for (const each of restarted) each.commits = guessesOf(block, each.row, restarted)
  await engine.begin(
    restarted.map(({ commits: committed, row }) =>
      beginRow(row, committed, startOf(block, row, restarted)),
    ),
  )
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
  const blanks = new Set(movingOf(block, row, undefined))
  const moving = Array.from({ length: block }, (_, position) => blanks.has(position))
  return startFrom(state, start, moving, answer.shape.seed, descent)
}

/** [K]; undefined where the new descent begins with nothing committed. */
function guessesOf(
  block: number,
  row: RestartRow,
  restarted: readonly Restarted[],
): number[] | undefined {
  const { answer } = candidateOf(row)
  const { descent, start } = row.restart
  if (start.guess === undefined) return undefined
  const now = restarted.find(({ readout, row: other }) => readout && other.state === row.state)
  const readout = now?.readout ?? answer.series?.readout
  if (!readout) throw new RangeError('the readout to guess from was not kept')
  const blanks = movingOf(block, row, undefined).filter(
    (position) => position < answer.shape.length,
  )
  const { seed } = answer.shape
  const made = commits({ draw: 'sample' }, start.guess, readout, block, blanks, seed, descent)
  return made.length > 0 ? withCommits(block, undefined, made) : undefined
}

function withCommits(
  block: number,
  before: readonly number[] | undefined,
  made: readonly { position: number; token: number }[],
): number[] {
  const all = before ? [...before] : new Array<number>(block).fill(BLANK)
  for (const { position, token } of made) all[position] = token
  return all
}

/** Commits or opens positions of all rows: their descents go on from where they stand. */
export async function changePositions(
  engine: EnergyEngine,
  rows: readonly ChangeRow[],
): Promise<Changed[]> {
  const changed: Changed[] = []
  for (const row of rows) {
    const { candidate } = candidateOf(row)
    const { change } = row
    const slot = slotOf(candidate)
    const saved = await saveOf(engine, slot, change.saves)
    const committed = change.kind === 'commit' ? await commitsOf(engine, row) : undefined
    changed.push({ row, saved, commits: committed })
    if (change.kind === 'commit' && !committed) continue
    const [start] = await engine.points([{ slot, which: 'present' }])
    await engine.begin([beginRow(row, committed, start)])
  }
  return changed
}

/** [K]; undefined where no position can be committed. */
async function commitsOf(engine: EnergyEngine, row: ChangeRow): Promise<number[] | undefined> {
  const { answer, candidate } = candidateOf(row)
  const { commit } = answer.limits
  if (!commit) return undefined
  const { block } = engine.model.answer
  const { count, draw } = row.change
  const { length, seed } = answer.shape
  const weights = await weightsOf(engine, slotOf(candidate))
  const blanks = movingOf(block, row, candidate.commits).filter((position) => position < length)
  const { temperature } = row.state.request.sampling
  const made = commits(commit, count, weights, block, blanks, seed, draw, temperature)
  return made.length > 0 ? withCommits(block, candidate.commits, made) : undefined
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

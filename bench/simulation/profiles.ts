/**
 * How the answers of each kind go, board by board, where nobody else runs: what the engine core does with one
 * request on a modelled engine. It does not depend on others (a result is a function of request and seed), so a
 * simulation that jumps over steps takes it from here.
 */
import { PAGE_POSITIONS } from '../../src/energy/pages.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import { type Kind } from './jobs.js'
import { ModelledEngine } from './modelled-engine.js'
import { boardRequest, settle } from './searching.js'
import type { ServedModel } from './stepped-replica.js'

export interface Phase {
  /** Candidates that step at a time, where they have slots. */
  width: number
  /** Of all of them together; Infinity: until its time is over. */
  steps: number
}

export interface Profile {
  phases: readonly Phase[]
  right: boolean
}

/** By index of the board. */
export async function profilesOf(
  { model, recording, tokenizer }: ServedModel,
  kind: Kind,
): Promise<readonly Profile[]> {
  const { equal } = kind
  if (equal !== undefined)
    return recording.boards.map((board) => {
      const known = board.equal.find(({ steps }) => steps === equal)
      if (!known) throw new RangeError(`equal answers of ${equal} steps were not recorded`)
      return { phases: [{ width: kind.budget.candidates, steps: equal }], right: known.right }
    })
  const slots = kind.budget.candidates
  const capacity = { slots, contexts: slots, pages: 16 * slots, pageSize: PAGE_POSITIONS }
  const engine = new ModelledEngine(model, tokenizer, recording, capacity)
  const options = { prefillChunk: 256, holdSeconds: 0, pauseSeconds: 0 }
  const core = new EngineCore(engine, tokenizer, options, () => engine.now)
  // Where only time ends it, it ends when the recorded search did, or else when its time is over.
  const { maxSeconds, ...unlimited } = kind.budget
  const budget = { ...unlimited, maxSteps: kind.budget.maxSteps ?? recording.most }
  const profiles: Profile[] = []
  for (const [i, { completion, seed, template }] of recording.boards.entries()) {
    const request = boardRequest(`${i}`, template, seed, budget, 'alone')
    const { text, ticks } = await settle(core, request)
    const right = text === completion
    const endless = kind.budget.maxSteps === undefined && maxSeconds !== undefined && !right
    profiles.push({ phases: phasesOf(ticks, endless), right })
  }
  return profiles
}

/** More and more candidates, each number until there are more. `endless`: the last phase has no end. */
function phasesOf(
  ticks: readonly { rows: number; steps: number }[],
  endless: boolean,
): readonly Phase[] {
  const phases: Phase[] = []
  for (const { rows, steps } of ticks) {
    const last = phases.at(-1)
    // The last round may be cut short.
    if (last && rows <= last.width) last.steps += rows * steps
    else phases.push({ width: rows, steps: rows * steps })
  }
  const last = phases.at(-1)
  if (endless && last) last.steps = Infinity
  return phases
}

/** Of the phases before phase `phase`. */
export const stepsBefore = ({ phases }: Profile, phase: number): number =>
  phases.slice(0, phase).reduce((sum, { steps }) => sum + steps, 0)

/** Where an answer goes on that has taken so many steps. */
export function phaseAt(profile: Profile, steps: number): { phase: number; steps: number } {
  const { phases } = profile
  const reached = phases.findIndex((_, phase) => steps < stepsBefore(profile, phase + 1))
  const phase = reached < 0 ? phases.length - 1 : reached
  return { phase, steps: steps - stepsBefore(profile, phase) }
}

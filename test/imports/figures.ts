/** Runs an engine under a budget, to compare it with results of the published implementation. */
import type { EnergyEngine } from '../../src/energy/engine.js'
import { landscapeOf } from '../../src/model/config.js'
import { planStep, type Budget } from '../../src/refine/budget.js'
import { choose } from '../../src/refine/candidates.js'

export interface Figures {
  /** [step][candidate][position]: energies before each step, then of the final state. */
  energies: number[][][]
  /** [step][candidate][position * V]: logits after each step. */
  logits: number[][][]
  /** [position * V]: logits of the chosen candidates. */
  chosen: number[]
}

const pagesFor = (contextId: number) => [contextId * 2, contextId * 2 + 1]
const range = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Refines every position of `tokens` in parallel, with `budget.candidates` candidates each, from `starts`. */
export async function descendAll(
  engine: EnergyEngine,
  tokens: readonly number[],
  starts: readonly number[][][],
  budget: Budget,
): Promise<Figures> {
  const { model } = engine
  const candidates = range(budget.candidates)
  const slotOf = (candidate: number, position: number) => candidate * tokens.length + position
  const every = candidates.flatMap((candidate) =>
    tokens.map((_, position) => ({ candidate, position, slot: slotOf(candidate, position) })),
  )
  for (const i of tokens.keys())
    await engine.observe([{ contextId: i, tokens: tokens.slice(0, i + 1), pages: pagesFor(i) }])
  await engine.begin(
    every.map(({ candidate, position, slot }) => ({
      slot,
      contextId: position,
      seed: 0,
      candidate,
      start: Float32Array.from(starts[candidate]?.[position] ?? []),
    })),
  )
  const split = <T>(flat: readonly T[]): T[][] =>
    candidates.map((c) => flat.slice(c * tokens.length, (c + 1) * tokens.length))
  const read = async () =>
    await engine.read(
      every.map(({ slot }) => ({ slot, which: 'last' as const, top: 'all' as const })),
    )
  const figures: Figures = { energies: [], logits: [], chosen: [] }
  for (let step = 0; step < (budget.maxSteps ?? 0); step++) {
    const plan = planStep(budget, step, model.landscapes)
    const results = await engine.descend(every.map(({ slot }) => ({ slot, step, ...plan })))
    figures.energies.push(split(results.map(({ energy }) => energy)))
    figures.logits.push(
      split(await read()).map((each) => each.flatMap(({ logits }) => [...logits])),
    )
  }
  const last = landscapeOf(model, budget.maxSteps ?? 0)
  const final = await engine.energy(every.map(({ slot }) => ({ slot, landscape: last })))
  figures.energies.push(split(final.map(({ energy }) => energy)))
  const readings = await read()
  figures.chosen = tokens.flatMap((_, position) => {
    const outcomes = candidates.map((candidate) => ({
      initial: figures.energies[0]?.[candidate]?.[position] as number,
      energy: figures.energies.at(-1)?.[candidate]?.[position] as number,
    }))
    return [...(readings[slotOf(choose(outcomes, budget.select), position)]?.logits ?? [])]
  })
  return figures
}

/** `count` greedy tokens after `tokens`, computed through the cache from the model's own start. */
export async function greedy(
  engine: EnergyEngine,
  tokens: readonly number[],
  count: number,
  budget: Budget,
): Promise<number[]> {
  const text: number[] = []
  await engine.observe([{ contextId: 0, tokens, pages: pagesFor(0) }])
  while (text.length < count) {
    await engine.begin([{ slot: 0, contextId: 0, seed: 0, candidate: 0 }])
    for (let step = 0; step < (budget.maxSteps ?? 0); step++)
      await engine.descend([{ slot: 0, step, ...planStep(budget, step, engine.model.landscapes) }])
    const [readout] = await engine.read([{ slot: 0, which: 'last', top: 1 }])
    const token = readout?.tokens[0] as number
    text.push(token)
    await engine.observe([{ contextId: 0, tokens: [token], pages: pagesFor(0) }])
  }
  return text
}

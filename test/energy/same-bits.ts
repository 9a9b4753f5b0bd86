/**
 * Rows of many kinds whose bits must depend on each row alone, whatever shares its batch. The tests of engines
 * run them alone, together and in other orders.
 */
import { expect } from 'vitest'
import type { EnergyEngine } from '../../src/energy/engine.js'
import { landscapeOf } from '../../src/model/config.js'

export const rows = 64
const steps = 3
export const capacity = { slots: rows, contexts: rows, pages: rows * 3 }

export interface Outcome {
  numbers: number[]
  logits: Float32Array
}

const contextOf = (row: number, vocab: number): number[] =>
  Array.from({ length: (row * 5) % 41 }, (_, i) => (i * 7 + row) % vocab)

async function start(engine: EnergyEngine, row: number, chunk: number): Promise<void> {
  const { vocab_size: vocab, answer } = engine.model
  const tokens = contextOf(row, vocab)
  const pages = [3 * row + 1, 3 * row, 3 * row + 2]
  for (let from = 0; from < tokens.length; from += chunk)
    await engine.observe([{ contextId: row, tokens: tokens.slice(from, from + chunk), pages }])
  const clamped = Array.from({ length: answer.block }, (_, i) => ((i + row) % 3 === 0 ? 1 : -1))
  const known = row % 2 === 1 && answer.block > 1 ? { clamped } : {}
  await engine.begin([{ slot: row, contextId: row, seed: row, candidate: row % 4, ...known }])
}

/** Descends the rows `wanted` in one batch, closes the engine and returns the numbers of each row. */
export async function descendRows(
  engine: EnergyEngine,
  wanted: readonly number[],
  chunk = 99,
): Promise<Map<number, Outcome>> {
  for (const row of wanted) await start(engine, row, chunk)
  const outcomes = new Map<number, Outcome>()
  for (const row of wanted) outcomes.set(row, { numbers: [], logits: new Float32Array(0) })
  for (let step = 0; step < steps; step++) {
    const batch = wanted.map((slot) => ({
      slot,
      // Rows of one batch descend different landscapes.
      landscape: landscapeOf(engine.model, step + (slot % 3)),
      step,
      noise: slot % 5 === 4 ? 0.05 : 0,
      acceptLower: slot % 7 === 6,
    }))
    const results = await engine.descend(batch)
    results.forEach(({ energy, gradientNorm, best, parts }, i) => {
      const { numbers } = outcomes.get(wanted[i] as number) as Outcome
      numbers.push(energy, gradientNorm, best, parts?.disagreement ?? 0, parts?.doubt ?? 0)
    })
  }
  for (const row of wanted)
    (outcomes.get(row) as Outcome).logits =
      (await engine.read([{ slot: row, which: 'last', top: 'all' }]))[0]?.logits ??
      new Float32Array(0)
  await engine.close()
  return outcomes
}

export const everyRow = Array.from({ length: rows }, (_, i) => i)
export const watched = [0, 3, 4, 6, 13, 63]

export function expectSame(actual: Map<number, Outcome>, expected: Map<number, Outcome>) {
  for (const [row, outcome] of actual) {
    expect(outcome.numbers).toEqual(expected.get(row)?.numbers)
    expect(outcome.logits).toEqual(expected.get(row)?.logits)
  }
}

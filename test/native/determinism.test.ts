/**
 * docs/native.md promises that the bits of a row depend on the row alone: not on what shares its batch, on
 * the number of threads, or on the chunks in which its context was observed. So equality is exact here.
 */
import { describe, expect, it } from 'vitest'
import type { SynchronousEngine } from '../../src/energy/engine.js'
import { weightTypes, type NativeOptions } from '../../src/energy/native/options.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { landscapeOf } from '../../src/model/config.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { configOf, modelOf, variants } from '../support/models.js'
import { openNative } from './support.js'

const rows = 64
const steps = 3
const capacity = { slots: rows, contexts: rows, pages: rows * 3 }

interface Outcome {
  numbers: number[]
  logits: Float32Array
}

const contextOf = (row: number, vocab: number): number[] =>
  Array.from({ length: (row * 5) % 41 }, (_, i) => (i * 7 + row) % vocab)

function start(engine: SynchronousEngine, row: number, chunk: number): void {
  const { vocab_size: vocab, answer } = engine.model
  const tokens = contextOf(row, vocab)
  const pages = [3 * row + 1, 3 * row, 3 * row + 2]
  for (let from = 0; from < tokens.length; from += chunk)
    engine.observe([{ contextId: row, tokens: tokens.slice(from, from + chunk), pages }])
  const clamped = Array.from({ length: answer.block }, (_, i) => ((i + row) % 3 === 0 ? 1 : -1))
  const known = row % 2 === 1 && answer.block > 1 ? { clamped } : {}
  engine.begin([{ slot: row, contextId: row, seed: row, candidate: row % 4, ...known }])
}

/** Descends the rows `wanted` in one batch; returns the numbers of each. */
function run(
  checkpoint: Checkpoint,
  wanted: number[],
  options: Partial<NativeOptions>,
  chunk = 99,
) {
  const engine = openNative(checkpoint, { capacity, ...options })
  for (const row of wanted) start(engine, row, chunk)
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
    engine.descend(batch).forEach(({ energy, gradientNorm, best, parts }, i) => {
      const { numbers } = outcomes.get(wanted[i] as number) as Outcome
      numbers.push(energy, gradientNorm, best, parts?.disagreement ?? 0, parts?.doubt ?? 0)
    })
  }
  for (const row of wanted)
    (outcomes.get(row) as Outcome).logits =
      engine.read([{ slot: row, which: 'last', top: 'all' }])[0]?.logits ?? new Float32Array(0)
  engine.close()
  return outcomes
}

const everyRow = Array.from({ length: rows }, (_, i) => i)
const watched = [0, 3, 4, 6, 13, 63]

function expectSame(actual: Map<number, Outcome>, expected: Map<number, Outcome>) {
  for (const [row, outcome] of actual) {
    expect(outcome.numbers).toEqual(expected.get(row)?.numbers)
    expect(outcome.logits).toEqual(expected.get(row)?.logits)
  }
}

const wide = configOf({ dim: 96, heads: 3, ffn_dim: 200, vocab_size: 2100, context_length: 64 })
const models: [string, Checkpoint][] = [
  ...variants.map(({ label }): [string, Checkpoint] => [label, modelOf(label)]),
  ['several chunks of read-out', { config: wide, tensors: initialWeights(wide, 3, 0.5) }],
]

describe.each(models)('gives the same bits: %s', (_, checkpoint) => {
  it.each(weightTypes)('%s: alone, among 63 others, and for 1, 2 and 3 threads', (weights) => {
    const together = run(checkpoint, everyRow, { weights, threads: 2 })
    for (const row of watched) expectSame(run(checkpoint, [row], { weights, threads: 1 }), together)
    expectSame(run(checkpoint, everyRow, { weights, threads: 3 }), together)
    expectSame(run(checkpoint, [...watched].reverse(), { weights, threads: 1 }), together)
  })

  it('whatever the chunks in which the context is observed', () => {
    const whole = run(checkpoint, watched, { threads: 2 })
    expectSame(run(checkpoint, watched, { threads: 2 }, 3), whole)
    expectSame(run(checkpoint, watched, { threads: 1 }, 17), whole)
  })
})

describe('gives the same bits: a vocabulary of several chunks', () => {
  it.each(weightTypes)('%s: alone, among 63 others, and for 1, 2 and 3 threads', (weights) => {
    const config = configOf({
      dim: 48,
      heads: 2,
      ffn_dim: 64,
      vocab_size: 1777,
      answer: { space: 'vocab', block: 2, normalize: 'every_step', start: 'noise' },
      energy: { kind: 'head', direction: 'exact' },
    })
    const checkpoint = { config, tensors: initialWeights(config, 3, 0.5) }
    const together = run(checkpoint, everyRow, { weights, threads: 2 })
    for (const row of watched) expectSame(run(checkpoint, [row], { weights, threads: 1 }), together)
    expectSame(run(checkpoint, everyRow, { weights, threads: 3 }), together)
  })
})

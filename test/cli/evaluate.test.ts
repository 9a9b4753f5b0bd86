import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { registerEvaluate } from '../../src/cli/commands/evaluate-command.js'
import type { Evaluation } from '../../src/cli/output/evaluation-tables.js'
import { writeDigits } from '../support/digits.js'

const directory = mkdtempSync(join(tmpdir(), 'basin-evaluate-'))
const path = (...names: string[]) => join(directory, ...names)

writeDigits(directory, 'one', false, 0.1)
writeDigits(directory, 'control', true, 0.1)
const lines = Array.from({ length: 6 }, (_, i) =>
  JSON.stringify({ template: `1${i}__`, completion: `1${i}34`, givens: 2 }),
)
writeFileSync(path('data.jsonl'), `${lines.join('\n')}\n`)

interface Report {
  refiner: string
  models: Evaluation[]
}

async function evaluate(...words: string[]): Promise<Report> {
  const program = new Command('basin')
  registerEvaluate(program)
  const model = words.includes('--model') ? [] : ['--model', path('one')]
  const flags = ['--data', path('data.jsonl'), '--budgets', '1,2,4', '--backend', 'wasm']
  await program.parseAsync(
    ['evaluate', ...model, ...flags, '--json', path('report.json'), ...words],
    { from: 'user' },
  )
  return JSON.parse(readFileSync(path('report.json'), 'utf8')) as Report
}

describe('basin evaluate', () => {
  it('scores a model with candidates and its control at each budget', async () => {
    const { models } = await evaluate('--control', path('control'), '--candidates', '3')
    expect(models.map(({ name }) => name)).toEqual(['one', 'control'])
    const [one, control] = models as [Evaluation, Evaluation]
    expect(one.scores.map(({ steps }) => steps)).toEqual([1, 2, 4])
    expect(control.scores.map(({ steps }) => steps)).toEqual([1])
    for (const { choices } of one.scores) {
      expect(choices.map(({ candidates }) => candidates)).toEqual([2, 3])
      for (const { byEnergy, atRandom, best } of choices) {
        expect(best).toBeGreaterThanOrEqual(byEnergy)
        expect(best).toBeGreaterThanOrEqual(atRandom)
      }
    }
    expect(control.scores[0]?.choices).toEqual([])
  })

  it('descends in the direction of --refiner, for the model only', async () => {
    const control = ['--control', path('control')]
    const own = await evaluate(...control)
    const amortized = await evaluate(...control, '--refiner', 'amortized')
    const exact = await evaluate(...control, '--refiner', 'exact')
    expect([own.refiner, exact.refiner]).toEqual(['model', 'exact'])
    expect(amortized.models).toEqual(own.models)
    const energies = ({ models }: Report) => models[0]?.scores.map(({ energy }) => energy) ?? []
    // Both start from the same answer; later answers differ.
    expect(energies(exact)[0]).toBeCloseTo(energies(own)[0] as number, 4)
    expect(energies(exact)[2]).not.toBeCloseTo(energies(own)[2] as number, 4)
    expect(exact.models[1]).toEqual(own.models[1])
  })

  it('refuses to refine a control', async () => {
    await expect(evaluate('--model', path('control'), '--refiner', 'exact')).rejects.toThrow(
      /control is a feed-forward control, which does not descend/,
    )
  })
})

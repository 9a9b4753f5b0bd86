import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { beforeAll, describe, expect, it } from 'vitest'
import { registerLandscape } from '../../src/cli/commands/landscape-command.js'
import type { Tf } from '../../src/energy/tfjs/backend.js'
import { diagnose } from '../../src/train/evaluation/diagnose.js'
import { localMinima, roughness, sliceBatch } from '../../src/train/evaluation/landscape-slices.js'
import { rankCorrelation } from '../../src/train/evaluation/statistics.js'
import { modelOf, variants } from '../support/models.js'
import { writeDigits } from '../support/digits.js'
import { backend, batchFor, networkOf } from './differences.js'

let tf: Tf
beforeAll(async () => {
  ;({ tf } = await backend())
})

describe('figures of a slice', () => {
  it('counts local minima inside a line, not at its ends', () => {
    expect(localMinima([0, 1, 2, 3])).toBe(0)
    expect(localMinima([2, 1, 2])).toBe(1)
    expect(localMinima([3, 1, 2, 0, 2, 1, 4])).toBe(3)
  })

  it('is 1 for a slope, 2 for a basin, and more for several minima', () => {
    expect(roughness([0, 1, 5])).toBe(1)
    expect(roughness([4, 0, 4])).toBe(2)
    expect(roughness([1, 0, 1, 0, 1])).toBe(4)
    expect(roughness([1, 1, 1])).toBe(0)
  })

  it('correlates ranks', () => {
    expect(rankCorrelation([1, 2, 3, 4], [10, 20, 21, 400])).toBeCloseTo(1)
    expect(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1)
    expect(rankCorrelation([1, 1, 2, 2], [1, 2, 1, 2])).toBeCloseTo(0)
    expect(rankCorrelation([1, 1], [1, 2])).toBe(0)
  })
})

describe.each(variants)('around the answers of $label', ({ label }) => {
  const model = modelOf(label)

  it('diagnoses finite figures, and shares between 0 and 1', async () => {
    const options = { seed: 1, wrong: 4, steps: 4 }
    const found = await diagnose(networkOf(tf, model), batchFor(model), options)
    for (const [name, value] of Object.entries(found)) expect(value, name).toBeTypeOf('number')
    expect(Object.values(found).every((value) => Number.isFinite(value))).toBe(true)
    expect(found.spread).toBeGreaterThan(0)
    for (const share of [found.ranked, found.volume]) {
      expect(share).toBeGreaterThanOrEqual(0)
      expect(share).toBeLessThanOrEqual(1)
    }
  })

  it('slices through the answer found, and projects its descent onto the plane', async () => {
    const { lines, plane } = await sliceBatch(networkOf(tf, model), batchFor(model), {
      seed: 1,
      steps: 4,
      points: 9,
      grid: 5,
      reach: 1,
    })
    for (const { at, energies } of lines) {
      expect(at[4]).toBe(0)
      for (const energy of energies) {
        expect(energy).toHaveLength(9)
        expect(Math.abs(energy[4] ?? NaN)).toBeLessThan(1e-4)
        expect(new Set(energy).size).toBeGreaterThan(4)
      }
    }
    expect(plane.path).toHaveLength(5)
    const [start, end] = [plane.path[0] as [number, number], plane.path[4]]
    expect(end).toEqual([0, 0])
    expect(start[0]).toBeGreaterThan(0)
    expect(Math.abs(start[1])).toBeLessThan(1e-3)
    expect(plane.energies.flat().every(Number.isFinite)).toBe(true)
  })
})

describe('a descent of the potential energy', () => {
  it('lowers the energy and the norm of the gradient', async () => {
    const model = modelOf('latent potential')
    const network = networkOf(tf, model)
    const { firstEnergy, lastEnergy, firstGradient, lastGradient } = await diagnose(
      network,
      batchFor(model),
      { seed: 1, wrong: 4, steps: 12 },
    )
    expect(lastEnergy).toBeLessThan(firstEnergy)
    expect(lastGradient).toBeLessThan(firstGradient)
  })
})

describe('basin landscape', () => {
  const directory = mkdtempSync(join(tmpdir(), 'basin-landscape-'))
  const path = (...names: string[]) => join(directory, ...names)
  const save = (name: string, feedForward: boolean) => {
    writeDigits(directory, name, feedForward, 1)
  }
  save('one', false)
  save('control', true)
  writeFileSync(path('data.jsonl'), '{"template":"1_3_","completion":"1234"}\n'.repeat(3))

  const basin = (...words: string[]) => {
    const program = new Command('basin')
    registerLandscape(program)
    return program.parseAsync(words, { from: 'user' })
  }
  const flags = ['--data', path('data.jsonl'), '--out', path('out'), '--backend', 'wasm']

  it('writes figures and pictures, before and after training', async () => {
    await basin(
      'landscape',
      '--model',
      path('one'),
      '--before',
      '--grid',
      '5',
      '--points',
      '9',
      ...flags,
    )
    const { models } = JSON.parse(readFileSync(path('out', 'landscape.json'), 'utf8')) as {
      models: { name: string; diagnosis: { spread: number } }[]
    }
    expect(models.map(({ name }) => name)).toEqual(['one before', 'one'])
    expect(models[0]?.diagnosis.spread).toBeGreaterThan(0)
    for (const name of ['lines.svg', 'planes.svg'])
      expect(readFileSync(path('out', name), 'utf8')).toMatch(/^<svg [^]*polyline[^]*<\/svg>$/)
    expect(existsSync(path('out', 'index.html'))).toBe(true)
  })

  it('refuses a control, which has no energy', async () => {
    await expect(basin('landscape', '--model', path('control'), ...flags)).rejects.toThrow(
      /control is a feed-forward control and has no energy/,
    )
  })
})

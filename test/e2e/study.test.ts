/** The study runs on the compiled project and a shipped model. Skipped in a tree without its weights. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shipped } from '../support/process.js'

interface Figures {
  sets: { scores: { steps: number; solved: number; judge: { energy: number | null } }[] }[]
  candidates: { budgets: { choices: { byEnergy: number; best: number; atRandom: number }[] }[] }
  allocation: {
    totals: { total: number; even: { steps: number }[]; adaptive: { steps: number } }[]
  }
}

describe.skipIf(!shipped)('npm run study', () => {
  it('measures a model on generated data, and writes a page, pictures and figures', () => {
    const work = mkdtempSync(join(tmpdir(), 'basin-study-'))
    const options = ['--work', work, '--docs', work, '--rows', '4', '--steps', '8']
    execFileSync(process.execPath, ['examples/study/study.mjs', '--model', 'sudoku6', ...options], {
      stdio: 'pipe',
    })
    const figures = JSON.parse(readFileSync(join(work, 'thinking/sudoku6.json'), 'utf8')) as Figures
    expect(figures.sets).toHaveLength(2)
    for (const { scores } of figures.sets) {
      expect(scores.map(({ steps }) => steps)).toEqual([1, 2, 4, 8])
      expect(scores[3]?.solved).toBeGreaterThan(scores[0]?.solved ?? 1)
    }
    for (const { choices } of figures.candidates.budgets)
      for (const { byEnergy, best, atRandom } of choices) {
        expect(best).toBeGreaterThanOrEqual(byEnergy)
        expect(best).toBeGreaterThanOrEqual(atRandom)
      }
    for (const { total, even, adaptive } of figures.allocation.totals) {
      for (const { steps } of even) expect(steps).toBe(total)
      expect(adaptive.steps).toBeLessThanOrEqual(total)
    }
    const page = readFileSync(join(work, 'thinking.md'), 'utf8')
    expect(page).toContain('## 6x6 sudoku')
    expect(page).not.toMatch(/NaN|undefined/)
    for (const [, picture] of page.matchAll(/\((thinking\/[^)]*\.svg)\)/g))
      expect(existsSync(join(work, picture as string)), picture).toBe(true)
  }, 120_000)
})

/** What `basin generate` draws on a terminal, and what it writes where there is none. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { brailleCurve } from '../../src/cli/output/braille.js'
import { table } from '../../src/cli/commands/list-command.js'
import { drawTemplate } from '../../src/cli/output/template-drawing.js'
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import { shipped, shippedModels } from '../support/process.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const plain = (text: string): string => text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '')
const places = (text: string) =>
  Array.from(text, (character) => ({ text: character, given: true, certainty: 1 }))

/** The rows of each column of dots that are set, from the top. */
function dotsOf(rows: readonly string[]): number[][] {
  const bits = [
    [0x01, 0x02, 0x04, 0x40],
    [0x08, 0x10, 0x20, 0x80],
  ]
  const width = Array.from(rows[0] ?? '').length
  return Array.from({ length: 2 * width }, (_, column) =>
    rows.flatMap((row, y) => {
      const code = (Array.from(row)[Math.floor(column / 2)]?.codePointAt(0) ?? 0) - 0x2800
      return (bits[column % 2] ?? []).flatMap((bit, dot) => (code & bit ? [4 * y + dot] : []))
    }),
  )
}

describe('a curve of braille dots', () => {
  it('falls evenly where its logarithm does', () => {
    const columns = dotsOf(brailleCurve([1000, 100, 10, 1], 2, 1))
    expect(columns.map((rows) => rows.at(-1))).toEqual([0, 1, 2, 3])
  })

  it('joins neighbouring values, and leaves what is to come empty', () => {
    const columns = dotsOf(brailleCurve([1, 1000], 4, 2))
    expect(columns[1]).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(columns.slice(2)).toEqual([[], [], [], [], [], []])
  })

  it('draws energies of both signs, equal ones and none', () => {
    expect(dotsOf(brailleCurve([-1, 0, 1], 2, 1)).map((rows) => rows[0])).toEqual([
      3,
      2,
      0,
      undefined,
    ])
    expect(dotsOf(brailleCurve([2, 2], 1, 1))).toEqual([[3], [3]])
    expect(brailleCurve([], 2, 1)).toEqual(['⠀⠀'])
  })
})

describe('a template', () => {
  it('of a sudoku is a board with its boxes', () => {
    const layout = { kind: 'sudoku', columns: 4, box_columns: 2, box_rows: 2 } as const
    expect(drawTemplate(places('1234341221434321'), layout, 40).map(plain)).toEqual([
      '┌─────┬─────┐',
      '│ 1 2 │ 3 4 │',
      '│ 3 4 │ 1 2 │',
      '├─────┼─────┤',
      '│ 2 1 │ 4 3 │',
      '│ 4 3 │ 2 1 │',
      '└─────┴─────┘',
    ])
  })

  it('of a sum stands in columns, the most significant digit first', () => {
    const layout = { kind: 'sum', columns: 3 } as const
    expect(drawTemplate(places('74.+85.=501.'), layout, 40).map(plain)).toEqual([
      '        4 7',
      '  +     5 8',
      '  ──────────',
      '  =   1 0 5',
    ])
  })

  it('of a maze has walls, ends and a path', () => {
    const layout = { kind: 'maze', columns: 3 } as const
    const cells = places('###S_G###').map((cell) =>
      cell.text === '_' ? { text: 'x', given: false, certainty: 1 } : cell,
    )
    expect(drawTemplate(cells, layout, 40).map(plain)).toEqual(['██████', 'S ••G ', '██████'])
  })
})

describe('a story', () => {
  it('stands in lines, without slots that have no sentence', () => {
    const layout = { kind: 'sentences', columns: 4, head: 2 } as const
    const words = positionTexts('Story: - - - - Tom has _. _ is here.', layout).map((text) => ({
      text: text === ' _' ? ' milk' : text,
      given: text !== ' _',
      certainty: 1,
    }))
    expect(words).toHaveLength(14)
    expect(drawTemplate(words, layout, 40).map(plain)).toEqual(['Tom has milk.', 'milk is here.'])
  })
})

describe('a table', () => {
  it('has columns as wide as their longest entry', () => {
    expect(
      table([
        ['A', 'B'],
        ['long', 'x'],
      ]),
    ).toBe('A     B\nlong  x')
  })
})

const terminal = existsSync('/usr/bin/script')

describe.skipIf(!shipped)('basin generate', () => {
  const examples = [
    ['sudoku6', '_4______6__1_5__2___45____1__63_____'],
    ['addition', '03347.......+93152.......=_____________'],
  ] as const

  it.each(examples)('writes no control characters of %s into a pipe', (model, template) => {
    const flags = ['generate', '--model', join(shippedModels, model), '--template', template]
    const { stderr, stdout } = spawnSync(process.execPath, [main, ...flags], { encoding: 'utf8' })

    expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f]/)
    expect(stdout).toHaveLength(template.length + 1)
  })

  it.skipIf(!terminal).each(examples)(
    'draws %s within 80 columns and 24 lines',
    (model, template) => {
      const command = `stty cols 80 rows 24; ${process.execPath} ${main} generate --model ${join(shippedModels, model)} --template ${template}`
      const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8' })
      // What is drawn last, after the cursor went up for it.
      const last = plain(stdout.split('\x1b[J').at(-1) ?? '').split('\r\n')
      expect(last.length).toBeLessThanOrEqual(24)
      for (const line of last) expect(Array.from(line).length).toBeLessThanOrEqual(80)
      const [, drawn] =
        /energy \S+ → (\S+)/.exec(last.find((line) => line.includes('step 16')) ?? '') ?? []
      const [, said] =
        /energy \S+ → ([^,]+),/.exec(last.find((line) => line.includes('tokens')) ?? '') ?? []
      expect(drawn).toBeDefined()
      expect(said).toBe(drawn)
    },
  )
})

/** What `basin generate` draws on a terminal, and what it writes where there is none. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { brailleCurve } from '../../src/cli/output/braille.js'
import { table } from '../../src/cli/commands/list-command.js'
import { drawTemplate } from '../../src/cli/output/template-drawing.js'
import { addKey } from '../../src/server/api-keys.js'
import { Server, shipped, shippedModels } from '../support/process.js'
import { noTerminal, plain, Terminal } from '../support/terminal.js'
import { positionTexts } from '../../src/tokenizer/template-positions.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Of a terminal; lines end. */
const CONTROLS = /[\x00-\x09\x0b-\x1f]/
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

  it('of a graph has a line for each vertex, with the colours of its neighbours', () => {
    const layout = { kind: 'graph', edges: 3 } as const
    const cells = places('c_aR....bGc_').map((cell) =>
      cell.text === '_' ? { text: '', given: false, certainty: 0 } : cell,
    )
    expect(drawTemplate(cells, layout, 40).map(plain)).toEqual([
      'a R   c·',
      'b G   c·',
      'c ·   aR bG',
    ])
  })
})

describe('brackets', () => {
  it('stand in the row of their depth', () => {
    const drawn = drawTemplate(places('.([]{()}).'), { kind: 'brackets' }, 40)
    expect(drawn.map(plain)).toEqual(['·(      )·', '  []{  }  ', '     ()   '])
  })

  it('are text where a line does not hold them, and may not match', () => {
    const brackets = { kind: 'brackets' } as const
    expect(drawTemplate(places('(((('), brackets, 3).map(plain)).toEqual(['(((', '('])
    expect(drawTemplate(places('))(]'), brackets, 40).map(plain)).toEqual(['))(]'])
  })
})

describe('a story', () => {
  it('stands in lines, without slots that have no sentence', () => {
    const layout = { kind: 'sentences', head: 2, sentence: 4, clauses: 2, clause: 2 } as const
    const story = 'Story: - - - - - - - - Tom took milk. Tom _ Anna nothing'
    const words = positionTexts(story, layout).map((text) => ({
      text: text === ' _' ? ' milk' : text,
      given: text !== ' _',
      certainty: 1,
    }))
    expect(words).toHaveLength(2 + 8 + 8)
    expect(drawTemplate(words, layout, 80).map(plain)).toEqual([
      'Tom took milk.            Tom milk, Anna nothing',
    ])
  })

  it('names those whom clauses are about once, where a line does not hold them', () => {
    const layout = { kind: 'sentences', head: 0, sentence: 4, clauses: 2, clause: 3 } as const
    const clauses = ' Tom milk garden Anna nothing cellar'
    const story = `Tom took milk.${clauses} Anna took bread.${clauses}`
    const words = positionTexts(story, layout).map((text) => ({ text, given: true, certainty: 1 }))
    const drawn = drawTemplate(words, layout, 60).map(plain)
    expect(drawn.map((line) => line.trimEnd())).toEqual([
      '                          Tom             Anna',
      'Tom took milk.            milk garden     nothing cellar',
      'Anna took bread.          milk garden     nothing cellar',
    ])
    for (const line of drawn) expect(line.length).toBeLessThanOrEqual(60)
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

const examples = [
  ['sudoku6', '_4______6__1_5__2___45____1__63_____'],
  ['addition', '03347.......+93152.......=_____________'],
] as const
const others = ['sudoku6-exact', 'sudoku9', 'worlds'] as const
const exampleOf = (model: string): string => {
  const path = join(shippedModels, model, 'config.json')
  const { template } = JSON.parse(readFileSync(path, 'utf8')) as { template: { example: string } }
  return template.example
}
const everyExample = [...examples, ...others.map((model) => [model, exampleOf(model)] as const)]

/** What was drawn fits, and the energy that it shows last is that of the summary. */
function expectDrawn(last: readonly string[]): void {
  expect(last.length).toBeLessThanOrEqual(24)
  for (const line of last) expect(Array.from(line).length).toBeLessThanOrEqual(80)
  const [, drawn] = /energy \S+ → (\S+)/.exec(last.find((line) => /step \d/.test(line)) ?? '') ?? []
  const [, said] =
    /energy \S+ → ([^,]+),/.exec(last.find((line) => line.includes('tokens')) ?? '') ?? []
  expect(drawn).toBeDefined()
  expect(said).toBe(drawn)
}

describe.skipIf(!shipped)('basin generate', () => {
  it.each(examples)('writes no control characters of %s into a pipe', (model, template) => {
    const flags = ['generate', '--model', join(shippedModels, model), '--template', template]
    const { stderr, stdout } = spawnSync(process.execPath, [main, ...flags], { encoding: 'utf8' })

    expect(stdout + stderr).not.toMatch(CONTROLS)
    expect(stdout).toHaveLength(template.length + 1)
  })

  it.skipIf(noTerminal).each(everyExample)(
    'draws %s within 80 columns and 24 lines',
    async (model, template) => {
      const terminal = new Terminal('generate', '--model', model, '--template', template)
      const { code, last } = await terminal.end()
      expect(code).toBe(0)
      expectDrawn(last)
    },
  )

  it.skipIf(noTerminal)('draws a puzzle that is laid out in lines', async () => {
    const [model, template] = examples[0]
    const lines = template.replaceAll('_', '.').match(/.{6}/g)?.join(' ') ?? ''
    const { last } = await new Terminal('generate', '--model', model, '--template', lines).end()
    expect(last.slice(0, 2)).toEqual([
      expect.stringMatching(/^┌───────┬───────┐/),
      expect.stringMatching(/^│ [1-6] 4 [1-6] │ [1-6] [1-6] [1-6] │/),
    ])
  })

  it.skipIf(noTerminal)('breaks text between words', async () => {
    const words = ['generate', 'Once upon a time', '--seed', '3', '--max-tokens', '40']
    const terminal = new Terminal(...words)
    const { code } = await terminal.end()
    expect(code).toBe(0)
    const { stdout } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' })
    const written = terminal.output.split('\x1b[J').map((part) => plain(part).split('\r\n'))
    const rows = written.filter(([, ...rest]) => rest.length > 0 && !rest.join().includes('step'))
    const said = rows.map(([row = '']) => row).join('')
    expect(said).toContain(`Once upon a time${stdout.trimEnd()}`.slice(0, 100))
    for (const [row = ''] of rows) expect(row.length).toBeLessThanOrEqual(80)
  })
})

describe.skipIf(!shipped)('with a server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'basin-watch-'))
  const keys = join(folder, 'keys.json')
  const key = addKey(keys, 'terminal')
  let server: Server
  beforeAll(async () => {
    const models = ['--model', 'stories', '--model', 'sudoku6']
    server = await Server.start(shippedModels, ...models, '--keys', keys)
  })
  afterAll(() => server.stop())

  describe('basin watch', () => {
    it.skipIf(noTerminal)('draws a model by its name as generate does', async () => {
      const [model, template] = examples[0]
      const watched = new Terminal('watch', server.url, '--model', model, '--key', key)
      const { code, last } = await watched.end()
      expect(code).toBe(0)
      expectDrawn(last)
      const made = new Terminal('generate', '--model', model, '--template', template)
      const { last: drawn } = await made.end()
      expect(last.slice(0, 10)).toEqual(drawn.slice(0, 10))
    })

    it('writes the text alone into a pipe, with the key of BASIN_KEY', () => {
      const words = ['watch', server.url, 'Once upon a time', '--seed', '3', '--max-tokens', '12']
      const env = { ...process.env, BASIN_KEY: key }
      const { status, stderr, stdout } = spawnSync(process.execPath, [main, ...words], {
        encoding: 'utf8',
        env,
      })
      expect(status).toBe(0)
      expect(stdout + stderr).not.toMatch(CONTROLS)
      expect(stdout).toMatch(/^\S* \w+ [^\n]*\n$/)
      expect(stderr).toMatch(/energy .* 12 tokens/)
    })

    it('says which models there are, and that a key is missing', () => {
      const run = (...flags: string[]) =>
        spawnSync(process.execPath, [main, 'watch', server.url, ...flags], { encoding: 'utf8' })
      const unknown = run('--model', 'none', '--key', key)
      expect(unknown.status).toBe(1)
      expect(unknown.stderr).toContain('the server has no model none; it has stories, sudoku6')
      expect(run('--key', 'wrong').stderr).toContain('Missing or invalid API key')
    })
  })

  describe.each([
    ['a model here', () => ['stories']],
    ['a server', () => [server.url, '--model', 'stories', '--key', key]],
  ])('basin chat with %s', (_, target) => {
    const chat = (input: string, ...flags: string[]) =>
      spawnSync(process.execPath, [main, 'chat', ...target(), ...flags], {
        encoding: 'utf8',
        input,
      })

    it('answers line by line in a pipe, and keeps the conversation until /reset', () => {
      const { status, stderr, stdout } = chat(
        'His\nThe sun was hot.\nHis\n/reset\nHis\n/effort much\n/nothing\n',
        '--seed=1',
        '--max-tokens=8',
        '--temperature=0',
      )
      expect(status).toBe(0)
      expect(stdout + stderr).not.toMatch(CONTROLS)
      const [first, , again, forgotten] = stdout.split('\n')
      expect(first).toMatch(/\w/)
      expect(again).not.toBe(first)
      expect(forgotten).toBe(first)
      expect(stderr).toContain('the effort must be one of none, minimal')
      expect(stderr).toContain('there is no /nothing')
    })

    it('goes on after what is refused', () => {
      const { status, stderr, stdout } = chat(
        `${'word '.repeat(400)}\nOnce\n`,
        '--seed=1',
        '--max-tokens=8',
      )
      expect(status).toBe(0)
      expect(stderr).toMatch(/context of stories holds 256 tokens.*\/reset/i)
      expect(stdout).toMatch(/^[^\n]*\w[^\n]*\n$/)
    })

    it.skipIf(noTerminal)('ends an answer by Ctrl-C, and by a second one itself', async () => {
      const terminal = new Terminal('chat', ...target(), '--seed', '3')
      await terminal.says(/> $/)
      terminal.type('/effort max\r')
      await terminal.says(/effort: max[^]*> $/)
      terminal.type('Once upon a time\r')
      await terminal.says(/step \d+, energy/)
      terminal.type('\x03')
      await terminal.says(/tokens, .*finished[^]*> $/)
      terminal.type('\x03')
      const { code } = await terminal.end()
      expect(code).toBe(0)
      // What is typed is shown once, however many lines were typed before.
      expect(plain(terminal.output)).toMatch(/> Once upon a time/)
    })
  })

  it.skipIf(noTerminal)('draws the puzzle of a conversation', async () => {
    const [model, template] = examples[0]
    const terminal = new Terminal('chat', server.url, '--model', model, '--key', key)
    await terminal.says(/fills templates of 36 positions[^]*> $/)
    terminal.type(`${template}\r`)
    await terminal.says(/36 tokens[^]*> $/)
    terminal.type('/quit\r')
    const { last } = await terminal.end()
    expectDrawn(last)
    expect(last[0]).toContain('┌───────┬───────┐')
  })
})

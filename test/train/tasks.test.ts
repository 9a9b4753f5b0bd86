import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeTaskModel } from '../../src/cli/task-model.js'
import { readConfig } from '../../src/model/config.js'
import { parseTemplate } from '../../src/generation/core/requests/prepare.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { additionTask } from '../../src/train/tasks/addition.js'
import { colouringTask } from '../../src/train/tasks/colouring.js'
import { countColourings, eliminate } from '../../src/train/tasks/colouring-graph.js'
import { dyckTask } from '../../src/train/tasks/dyck.js'
import { pathTask, shortestPath } from '../../src/train/tasks/paths.js'
import { sortingTask } from '../../src/train/tasks/sorting.js'
import { sudokuTask } from '../../src/train/tasks/sudoku.js'
import { drawExamples, type Task, type TaskExample } from '../../src/train/tasks/task.js'

const draw = (task: Task, count: number, seed = 1) => [...drawExamples(task, { count, seed })]

const reversed = (text: string) => Array.from(text).reverse().join('')

/** Throws if a completion is not right by the rules of the task, which are checked in another way. */
const checks = {
  addition({ template, completion, facts }: TaskExample) {
    const [a = '', b = '', sum = ''] = completion.split(/[+=]/)
    const offset = a.search(/[0-9]/)
    expect([b, sum].map((text) => text.search(/[0-9]/))).toEqual([offset, offset])
    const [x, y, z] = [a, b, sum].map((text) => BigInt(reversed(text.replaceAll('.', ''))))
    expect((x as bigint) + (y as bigint)).toBe(z)
    expect(template).toBe(`${a}+${b}=${'_'.repeat(13)}`)
    expect(Math.max(String(x).length, String(y).length)).toBe(facts['digits'])
  },
  /** Follows every way from S, shortest first, without the generator's search. */
  paths({ template, completion, facts }: TaskExample) {
    const side = Math.sqrt(template.length)
    const beside = (a: number, b: number) => {
      const [rows, columns] = [Math.floor(a / side) - Math.floor(b / side), (a % side) - (b % side)]
      return Math.abs(rows) + Math.abs(columns) === 1
    }
    const open = Array.from(template, (_, i) => i).filter((i) => template[i] !== '#')
    const goal = template.indexOf('G')
    let ways = [[template.indexOf('S')]]
    const seen = new Set(ways[0])
    while (!ways.some((way) => way.at(-1) === goal)) {
      ways = ways.flatMap((way) =>
        open
          .filter((next) => !seen.has(next) && beside(next, way.at(-1) as number))
          .map((next) => [...way, next]),
      )
      for (const way of ways) seen.add(way.at(-1) as number)
      expect(ways.length).toBeGreaterThan(0)
    }
    const shortest = ways.filter((way) => way.at(-1) === goal)
    expect(shortest).toHaveLength(1)
    const path = new Set(shortest[0])
    const expected = Array.from(template, (square, i) =>
      square === '_' ? (path.has(i) ? 'x' : '.') : square,
    )
    expect(completion).toBe(expected.join(''))
    expect(facts['length']).toBe((shortest[0]?.length ?? 0) - 1)
  },
  /** Tries every colouring of the blanks, without the generator's search. */
  colouring({ template, completion, facts }: TaskExample) {
    const mentions = (text: string) =>
      (text.match(/.{2}/g) ?? []).filter((mention) => mention !== '..')
    const names = [...new Set(mentions(template).map((mention) => mention.charAt(0)))]
    const edges = (template.match(/.{4}/g) ?? [])
      .filter((edge) => edge !== '....')
      .map((edge) => [names.indexOf(edge.charAt(0)), names.indexOf(edge.charAt(2))] as const)
    const pairs = edges.map((ends) => ends.toSorted((a, b) => a - b).join())
    expect(new Set(pairs).size).toBe(edges.length)
    const colours = new Map(mentions(template).map(([name, colour]) => [name, colour]))
    expect(mentions(template)).toEqual(
      mentions(template).map(([name = '']) => `${name}${String(colours.get(name))}`),
    )
    const found: string[][] = []
    const complete = (known: readonly string[]): void => {
      if (edges.some(([a, b]) => known[a] === known[b] && known[a] !== '_')) return
      const open = known.indexOf('_')
      if (open < 0) found.push([...known])
      else for (const colour of 'RGB') complete(known.with(open, colour))
    }
    complete(names.map((name) => colours.get(name) as string))
    expect(found).toHaveLength(1)
    const coloured = template.replace(/([a-z])_/g, (_, name: string) => {
      return name + (found[0]?.[names.indexOf(name)] ?? '')
    })
    expect(completion).toBe(coloured)
    expect(facts['vertices']).toBe(names.length)
    expect(facts['givens']).toBe([...colours.values()].filter((colour) => colour !== '_').length)
  },
  dyck({ template, completion, facts }: TaskExample) {
    const given = template.replace(/_+$/, '')
    expect(completion.startsWith(given)).toBe(true)
    let text = completion.replace(/^\.+/, '').replace(/\.+$/, '')
    expect(text).not.toContain('.')
    const closed = text.slice(given.replace(/^\.+/, '').length)
    expect(closed).toMatch(/^[)\]}]+$/)
    expect(closed).toHaveLength(facts['depth'] as number)
    while (/\(\)|\[\]|\{\}/.test(text)) text = text.replace(/\(\)|\[\]|\{\}/g, '')
    expect(text).toBe('')
  },
  sorting({ template, completion }: TaskExample) {
    const [list = '', sorted = ''] = completion.split('>')
    expect(template).toBe(`${list}>${'_'.repeat(16)}`)
    expect(sorted.search(/[0-9]/)).toBe(list.search(/[0-9]/))
    const digits = sorted.replaceAll('.', '')
    expect(digits).toMatch(/^0*1*2*3*4*5*6*7*8*9*$/)
    for (const digit of '0123456789')
      expect(digits.split(digit)).toHaveLength(list.split(digit).length)
  },
}

const graphs = { room: 14, degree: 4, colours: 3, givens: { min: 2, max: 4 } }

const tasks: [keyof typeof checks, Task, Task][] = [
  [
    'addition',
    additionTask({ digits: { min: 1, max: 8 }, width: 12 }),
    additionTask({ digits: { min: 9, max: 12 }, width: 12 }),
  ],
  [
    'paths',
    pathTask({ rooms: { min: 2, max: 4 }, side: 11, loops: 0 }),
    pathTask({ rooms: { min: 5, max: 6 }, side: 11, loops: 0.1 }),
  ],
  [
    'colouring',
    colouringTask({ ...graphs, vertices: { min: 7, max: 10 } }),
    colouringTask({ ...graphs, vertices: { min: 12, max: 14 } }),
  ],
  [
    'dyck',
    dyckTask({ length: { min: 2, max: 16 }, kinds: 3, block: 48 }),
    dyckTask({ length: { min: 17, max: 24 }, kinds: 3, block: 48 }),
  ],
  [
    'sorting',
    sortingTask({ items: { min: 2, max: 10 }, width: 16 }),
    sortingTask({ items: { min: 11, max: 16 }, width: 16 }),
  ],
]

describe.each(tasks)('%s', (name, task, harder) => {
  const made = draw(task, 300)

  it('makes right answers that fill the block and agree with their templates', () => {
    for (const example of [...made, ...draw(harder, 100)]) {
      const { template, completion } = example
      expect(template).toHaveLength(task.block)
      expect(completion).toMatch(
        new RegExp(`^${template.replace(/[.+()[\]{}]/g, '\\$&').replaceAll('_', '.')}$`),
      )
      for (const character of completion) expect(task.alphabet).toContain(character)
      checks[name](example)
    }
  })

  it('makes no two examples of the same form, and the same ones for the same seed', () => {
    expect(new Set(made.map(({ template }) => task.form(template))).size).toBe(300)
    expect(draw(task, 20)).toEqual(made.slice(0, 20))
    expect(draw(task, 20, 2)).not.toEqual(made.slice(0, 20))
  })

  it('leaves out excluded problems and excluded answers', () => {
    const forms = made.map(({ template }) => task.form(template))
    const others = [...drawExamples(task, { count: 300, seed: 1, exclude: forms })]
    for (const { template } of others) expect(forms).not.toContain(task.form(template))
    const answers = made.slice(0, 50).map(({ completion }) => task.answerForm(completion))
    for (const { completion } of drawExamples(task, { count: 50, seed: 1, exclude: answers }))
      expect(answers).not.toContain(task.answerForm(completion))
  })

  it('trains every position that harder examples use', () => {
    const covered = (examples: readonly TaskExample[], position: number) =>
      new Set(examples.map(({ completion }) => completion[position])).size
    const hard = draw(harder, 200)
    const many = draw(task, 2000)
    for (let position = 0; position < task.block; position++)
      expect(covered(many, position)).toBeGreaterThanOrEqual(
        Math.min(covered(hard, position), name === 'dyck' ? 2 : task.alphabet.length - 2),
      )
  })

  it('has a model configuration that accepts its templates', () => {
    const directory = join(mkdtempSync(join(tmpdir(), 'basin-task-')), name)
    writeTaskModel(directory, name, task)
    const config = readConfig(directory)
    const tokenizer = openTokenizer(directory)
    expect(tokenizer.vocabSize).toBe(config.vocab_size)
    for (const { template, completion } of made.slice(0, 20)) {
      expect(parseTemplate(template, config, tokenizer)).toHaveLength(config.answer.block)
      expect(tokenizer.decode(tokenizer.encode(completion))).toBe(completion)
    }
    expect(parseTemplate(config.template?.example ?? '', config, tokenizer)).toContain(-1)
  })
})

describe('canonical forms', () => {
  it('of sums do not depend on order or place', () => {
    const task = additionTask({ digits: { min: 1, max: 2 }, width: 4 })
    const forms = ['21..+9...=_____', '.9..+.21.=_____', '..21+..9.=_____'].map((template) =>
      task.form(template),
    )
    expect(new Set(forms).size).toBe(1)
    expect(task.form('21..+8...=_____')).not.toBe(forms[0])
    expect(task.form('.21.+9...=_____')).not.toBe(forms[0])
  })

  it('of mazes do not depend on rotation, reflection, place, or which end is the start', () => {
    const task = pathTask({ rooms: { min: 2, max: 2 }, side: 4, loops: 0 })
    const maze = ['S__#', '_##', '__G#'].map((row) => row.padEnd(4, '#')).join('') + '####'
    const same = ['####G__#_###__S#', '#___#_#_#S#G####', '####S_G#_#_#_#_#']
    expect(same.slice(0, 2).map((m) => task.form(m))).toContain(task.form(maze))
    expect(task.form(same[2] as string)).not.toBe(task.form(maze))
  })

  it('of graphs do not depend on names, places, colours or the order of neighbours', () => {
    const task = colouringTask({ ...graphs, vertices: { min: 4, max: 4 }, room: 5, degree: 3 })
    const form = task.form('aRb_aRc_b_c_b_d_c_d_')
    expect(task.form('d_c_....b_d_....b_eGc_b_c_eG')).toBe(form)
    for (const other of ['aRb_aRc_b_c_b_d_aRd_', 'a_bRa_c_bRc_bRd_c_d_'])
      expect(task.form(other)).not.toBe(form)
    const [alike, unlike] = ['aRb_aRc_b_c_b_dRc_dR', 'aRb_aRc_b_c_b_dGc_dG']
    expect(task.form(alike)).not.toBe(task.form(unlike))
  })

  it('of brackets do not depend on the kinds', () => {
    const task = dyckTask({ length: { min: 2, max: 4 }, kinds: 3, block: 8 })
    expect(task.form('..[({___')).toBe(task.form('{[(_____'))
    expect(task.form('..[([___')).not.toBe(task.form('{[(_____'))
  })
})

describe('difficulty', () => {
  it('makes carries travel further than those of random digits', () => {
    const task = additionTask({ digits: { min: 12, max: 12 }, width: 12 })
    const carries = draw(task, 500).map(({ facts }) => facts['carry'] as number)
    expect(carries.filter((carry) => carry >= 6).length).toBeGreaterThan(50)
    expect(carries.filter((carry) => carry <= 2).length).toBeGreaterThan(50)
  })

  it('tells how many rounds of elimination a graph takes, and what they leave open', () => {
    // A chain of triangles: each round gives the next vertex its colour.
    const chain = [
      [1, 2],
      [0, 2, 3],
      [0, 1, 3, 4],
      [1, 2, 4],
      [2, 3],
    ]
    const given = (...colours: number[]) => Uint8Array.from(colours)
    expect(eliminate(chain, given(1, 2, 0, 0, 0), 3)).toEqual({ rounds: 3, open: 0 })
    expect(eliminate(chain, given(1, 0, 0, 0, 0), 3)).toEqual({ rounds: 0, open: 4 })
    expect(countColourings(chain, given(1, 2, 0, 0, 0), 3)).toBe(1)
    expect(countColourings(chain, given(1, 0, 0, 0, 0), 3)).toBe(2)
    expect(countColourings(chain, given(1, 0, 0, 2, 0), 3)).toBe(0)
  })

  it('gives the number of columns that a carry travels', () => {
    const task = additionTask({ digits: { min: 1, max: 3 }, width: 3 })
    const facts = new Map(
      draw(task, 3000).map(({ template, facts }) => [template.slice(0, 7), facts]),
    )
    for (const [given, { carry }] of facts) {
      const [a = '', b = ''] = given.split('+')
      const pairs = Array.from(a, (digit, i) => [digit, b[i] ?? '.'])
        .map((pair) => pair.reduce((sum, d) => sum + (d === '.' ? 0 : Number(d)), 0))
        .map((sum) => (sum > 9 ? 'g' : sum === 9 ? 'p' : '-'))
      const runs = pairs.join('').match(/gp*/g) ?? []
      expect(carry).toBe(Math.max(0, ...runs.map((run) => run.length)))
    }
  })

  it('opens loops in mazes that still have one shortest path', () => {
    const open = (loops: number) =>
      draw(pathTask({ rooms: { min: 5, max: 5 }, side: 9, loops }), 50)
        .map(({ template }) => template.replaceAll('#', '').length)
        .reduce((a, b) => a + b, 0)
    expect(open(0)).toBe(50 * (25 + 24))
    expect(open(0.3)).toBeGreaterThan(open(0) + 50)
  })

  it('leaves out graphs that have more edges than a block has room for', () => {
    const task = colouringTask({ ...graphs, vertices: { min: 6, max: 10 }, edges: 15 })
    expect(task.block).toBe(60)
    const edges = draw(task, 200).map(
      ({ template }) => (template.match(/[a-n]./g) ?? []).length / 2,
    )
    expect(Math.max(...edges)).toBe(15)
  })

  it('makes mazes of 29 x 29 squares, with loops, and their one shortest path', () => {
    const large = pathTask({ rooms: { min: 15, max: 15 }, side: 30, loops: 0.02 })
    for (const example of draw(large, 5)) {
      expect(example.template).toHaveLength(900)
      checks.paths(example)
    }
  })

  it('finds no path if there are two shortest ones, or none', () => {
    const square = { height: 3, width: 3, open: Array.from('111101111', (c) => c === '1') }
    expect(shortestPath(square, 0, 8)).toBeUndefined()
    expect(shortestPath(square, 0, 2)).toEqual([0, 1, 2])
    const cut = { ...square, open: Array.from('101101101', (c) => c === '1') }
    expect(shortestPath(cut, 0, 2)).toBeUndefined()
  })
})

it.each([
  [() => additionTask({ digits: { min: 1, max: 13 }, width: 12 }), /digits .*within 1 to 12/],
  [() => additionTask({ digits: { min: 1, max: 2 }, width: 1e9 }), /width .*within 1 to 1364/],
  [() => pathTask({ rooms: { min: 2, max: 7 }, side: 11, loops: 0 }), /rooms .*within 2 to 6/],
  [() => pathTask({ rooms: { min: 2, max: 7 }, side: 65, loops: 0 }), /side .*within 3 to 64/],
  [() => colouringTask({ ...graphs, vertices: { min: 2, max: 15 } }), /vertices .*within 2 to 14/],
  [
    () => colouringTask({ ...graphs, vertices: { min: 2, max: 3 }, colours: 5 }),
    /colours .*2 to 4/,
  ],
  [() => dyckTask({ length: { min: 1, max: 5 }, kinds: 3, block: 9 }), /length .*within 1 to 4/],
  [() => dyckTask({ length: { min: 1, max: 5 }, kinds: 5, block: 48 }), /kinds .*within 1 to 4/],
  [() => sortingTask({ items: { min: 1, max: 5 }, width: 9 }), /items .*within 2 to 9/],
  [() => sudokuTask({ size: 4, givens: { min: 3, max: 2 } }), /givens .*within 1 to 16/],
])('refuses options out of range (%#)', (make, message) => {
  expect(make).toThrow(message)
})

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, it, vi } from 'vitest'
import { registerTasks } from '../../src/cli/commands/tasks-command.js'
import { registerTokenizer } from '../../src/cli/commands/tokenizer-command.js'
import { readConfig } from '../../src/model/config.js'
import { canonicalForm, isSolution } from '../../src/train/tasks/sudoku.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'

const directory = mkdtempSync(join(tmpdir(), 'basin-cli-'))
const path = (name: string) => join(directory, name)

/** Runs a command line; commander throws errors in place of ending the process. */
function basin(...words: string[]): void {
  const program = new Command('basin').exitOverride().configureOutput({ writeErr: () => undefined })
  registerTasks(program)
  registerTokenizer(program)
  for (const group of program.commands) {
    for (const verb of group.commands) verb.exitOverride().copyInheritedSettings(program)
  }
  program.parse(words, { from: 'user' })
}

interface Line {
  template: string
  completion: string
}
const readLines = (name: string) =>
  readFileSync(path(name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

describe('basin tasks sudoku', () => {
  const sudoku = (out: string, ...more: string[]) =>
    basin('tasks', 'sudoku', '--size', '4', '--count', '150', '--out', path(out), ...more)

  it('writes puzzles with their solutions, and no excluded ones', () => {
    sudoku('train.jsonl', '--seed', '1')
    sudoku('test.jsonl', '--seed', '1', '--exclude', path('train.jsonl'))
    const [train, test] = [readLines('train.jsonl'), readLines('test.jsonl')]
    expect(train).toHaveLength(150)
    expect(test).toHaveLength(150)
    for (const line of test) expect(isSolution(line.template, line.completion)).toBe(true)
    const known = new Set(train.map(({ template }) => canonicalForm(template)))
    expect(test.some(({ template }) => known.has(canonicalForm(template)))).toBe(false)
  })

  it.each([
    ['--size', '5', /must be 4, 6 or 9/],
    ['--count', '-1', /integer from 1/],
    ['--count', '1e3', /integer from 1/],
    ['--seed', '1e308', /integer from 0/],
    ['--givens', '8', /range such as 8-19/],
    ['--givens', '9-8', /givens must be a range within 1 to 16/],
  ])('refuses %s %s', (option, value, message) => {
    expect(() => sudoku('none.jsonl', option, value)).toThrow(message)
  })

  it('names the line of an exclusion file that is not an example', () => {
    writeFileSync(path('broken.jsonl'), '{"template":"_","completion":"1"}\n{"template":1}\n')
    expect(() => sudoku('none.jsonl', '--exclude', path('broken.jsonl'))).toThrow(
      /broken\.jsonl: line 2 is not \{template, completion\}/,
    )
  })
})

describe('basin tasks sudoku --from', () => {
  const convert = (lines: string, ...more: string[]) => {
    writeFileSync(path('given.txt'), lines)
    basin('tasks', 'sudoku', '--from', path('given.txt'), '--out', path('from.jsonl'), ...more)
  }

  it('solves puzzles that have one solution, and keeps rating and givens', () => {
    const [board] = readLines('train.jsonl')
    const zeros = board?.template.replaceAll('_', '0') ?? ''
    const dots = board?.template.replaceAll('_', '.') ?? ''
    const many = '1' + '.'.repeat(15)
    const none = '11' + '.'.repeat(14)
    convert(`a ${zeros} 2.5\n${many}\n${none}\nno board\n${dots}\n`, '--size', '4')
    const { template, completion } = board as Line
    const givens = template.replaceAll('_', '').length
    expect(readLines('from.jsonl')).toEqual([
      { template, completion, givens, rating: 2.5 },
      { template, completion, givens },
    ])
  })

  it('takes all puzzles of a file, or as many as --count says, and says how many lines are left', () => {
    const boards = readLines('train.jsonl').map(({ template }) => template)
    const printed = vi.spyOn(console, 'error').mockReturnValue()
    convert(boards.join('\n'), '--size', '4')
    expect(readLines('from.jsonl')).toHaveLength(boards.length)
    expect(printed).not.toHaveBeenCalled()
    convert(boards.join('\n'), '--size', '4', '--count', '10')
    expect(readLines('from.jsonl')).toHaveLength(10)
    expect(printed.mock.calls.join()).toMatch(/stopped at --count 10; 140 lines of .*given\.txt/)
    printed.mockRestore()
  })

  it('leaves out excluded puzzles and other sizes, and refuses a file without any left', () => {
    const [board] = readLines('train.jsonl')
    const text = board?.template ?? ''
    expect(() => convert(text, '--size', '4', '--exclude', path('train.jsonl'))).toThrow(
      /no puzzle is left; excluded/,
    )
    expect(() => convert(text, '--size', '6')).toThrow(/no puzzle is left; not 36 cells/)
  })
})

describe.each([
  ['addition', '--digits', '1-13', /digits must be a range within 1 to 12/],
  ['paths', '--rooms', '2-7', /rooms must be a range within 2 to 6/],
  ['dyck', '--kinds', '5', /integer from 1 to 4/],
  ['sorting', '--items', '1-4', /items must be a range within 2 to 16/],
])('basin tasks %s', (task, option, wrong, message) => {
  it('writes lines with figures of difficulty, and the files of a model', () => {
    const model = path(`${task}-model`)
    basin('tasks', task, '--count', '20', '--out', path(`${task}.jsonl`), '--model', model)
    const lines = readLines(`${task}.jsonl`)
    expect(lines).toHaveLength(20)
    const { template, completion, ...facts } = lines[0] as Line
    expect(completion).toHaveLength(template.length)
    expect(Object.values(facts).every((fact) => typeof fact === 'number')).toBe(true)
    const config = readConfig(model)
    expect(config.answer.block).toBe(template.length)
    expect(openTokenizer(model).encode(completion)).toHaveLength(template.length)
  })

  it(`refuses ${option} ${wrong}`, () => {
    expect(() =>
      basin('tasks', task, '--count', '1', '--out', path('none.jsonl'), option, wrong),
    ).toThrow(message)
  })
})

describe('basin tokenizer train', () => {
  it('writes a tokenizer that can be opened and compresses its text', () => {
    const text = 'the cat and the dog and the bird\n'.repeat(50)
    writeFileSync(path('text.txt'), text)
    basin(
      'tokenizer',
      'train',
      '--data',
      path('text.txt'),
      '--vocab-size',
      '300',
      '--out',
      directory,
    )
    const tokenizer = openTokenizer(directory)
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
    expect(tokenizer.encode(text).length).toBeLessThan(text.length / 3)
    expect(tokenizer.bos).toBe(tokenizer.vocabSize - 1)
  })

  it('refuses a vocabulary without room for all bytes', () => {
    expect(() =>
      basin('tokenizer', 'train', '--data', 'x', '--vocab-size', '256', '--out', 'x'),
    ).toThrow(/integer from 257/)
  })
})

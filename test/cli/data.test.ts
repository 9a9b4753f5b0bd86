import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { registerTasks } from '../../src/cli/tasks.js'
import { registerTokenizer } from '../../src/cli/tokenize.js'
import { canonicalForm, isSolution } from '../../src/train/tasks/sudoku.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'

const directory = mkdtempSync(join(tmpdir(), 'basin-cli-'))
const path = (name: string) => join(directory, name)

/** Errors instead of exits. */
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

  it('writes puzzles with their solutions, none of them excluded', () => {
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

  it('names the line of an exclusion file that is no puzzle', () => {
    writeFileSync(path('broken.jsonl'), '{"template":"_","completion":"1"}\n{"template":1}\n')
    expect(() => sudoku('none.jsonl', '--exclude', path('broken.jsonl'))).toThrow(
      /broken\.jsonl: line 2 is not \{template, completion\}/,
    )
  })
})

describe('basin tokenizer train', () => {
  it('writes a tokenizer that opens and compresses its text', () => {
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

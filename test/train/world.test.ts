import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { writeTaskModel } from '../../src/cli/task-model.js'
import { parseTemplate } from '../../src/generation/core/requests/prepare.js'
import { readConfig } from '../../src/model/config.js'
import { positionTexts, slotsOf } from '../../src/tokenizer/template-positions.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { drawExamples, type Task } from '../../src/train/tasks/task.js'
import { worldTask } from '../../src/train/tasks/world.js'
import { SLOT } from '../../src/train/tasks/world-story.js'

const draw = (task: Task, count: number, seed = 1) => [...drawExamples(task, { count, seed })]

const options = { sentences: { min: 3, max: 8 }, hops: { min: 0, max: 2 }, room: 12 }
const task = worldTask(options)
const deep = worldTask({ ...options, hops: { min: 4, max: 5 } })
const long = worldTask({ ...options, sentences: { min: 9, max: 12 } })
const made = draw(task, 300)

const layout = { kind: 'sentences', head: 2, sentence: 5, clauses: 3, clause: 3 } as const

/** The slots with a sentence, as words. */
const storyOf = (text: string) =>
  slotsOf(positionTexts(text, layout), layout)
    .filter(({ sentence }) => sentence.at(-1) === '.')
    .map(({ clauses, sentence }) => ({
      sentence: sentence.map((word) => word.trim()),
      clauses: clauses.map((clause) => clause.map((word) => word.trim())),
    }))

/**
 * What the clauses after each sentence have to be, and the most people that a fact came through. It keeps
 * tables of who has what and who is where.
 */
function retell(template: string): { clauses: string[][][]; hops: number } {
  type Entry = [value: string, hops: number]
  const where = new Map<string, Entry>()
  const what = new Map<string, Entry>()
  const has = (name: string): Entry => what.get(name) ?? ['nothing', 0]
  const at = (name: string): Entry => where.get(name) ?? ['away', 0]
  let most = 0
  const through = ([value, hops]: Entry): Entry => {
    most = Math.max(most, hops + 1)
    return [value, hops + 1]
  }
  const clauses = storyOf(template).map(({ clauses: asked, sentence }) => {
    const [who = '', verb = '', , fourth = ''] = sentence
    switch (verb) {
      case 'entered':
        expect(at(who)[0]).not.toBe(fourth)
        where.set(who, [fourth, 0])
        break
      case 'went':
        expect(at(fourth)[0]).not.toBe('away')
        expect(at(fourth)[0]).not.toBe(at(who)[0])
        where.set(who, through(at(fourth)))
        break
      case 'took':
        expect(has(who)[0]).toBe('nothing')
        expect([...what.values()].map(([thing]) => thing)).not.toContain(fourth)
        what.set(who, [fourth, 0])
        break
      default: {
        expect(verb).toBe('traded')
        expect(at(who)[0]).toBe(at(fourth)[0])
        expect(has(who)[0]).not.toBe(has(fourth)[0])
        const [given, returned] = [through(has(who)), through(has(fourth))]
        what.set(who, returned).set(fourth, given)
      }
    }
    return asked.map(([name = '']) => [name, has(name)[0], at(name)[0]])
  })
  return { clauses, hops: most }
}

it('tells what follows from every sentence, with the stated number of hops', () => {
  for (const { completion, facts, template } of [...made, ...draw(deep, 60), ...draw(long, 60)]) {
    const { clauses, hops } = retell(template)
    expect(storyOf(completion).map((slot) => slot.clauses)).toEqual(clauses)
    expect(hops).toBe(facts['hops'])
    expect(clauses).toHaveLength(facts['sentences'] as number)
  }
})

it('leaves open what everybody has and where they are, and nothing else', () => {
  for (const { completion, template } of made) {
    const [told, asked] = [storyOf(completion), storyOf(template)]
    expect(asked.map(({ sentence }) => sentence)).toEqual(told.map(({ sentence }) => sentence))
    for (const { clauses } of asked)
      expect(clauses).toEqual(['Mary', 'Tom', 'Anna'].map((name) => [name, '_', '_']))
  }
})

it('gives every slot the same number of positions, in a model that accepts its templates', () => {
  const directory = mkdtempSync(join(tmpdir(), 'basin-world-'))
  writeTaskModel(directory, 'world', task)
  const config = readConfig(directory)
  const tokenizer = openTokenizer(directory)
  expect(tokenizer.vocabSize).toBe(config.vocab_size)
  expect(config.template?.layout).toEqual(layout)
  for (const { completion, template } of [...made.slice(0, 40), ...draw(long, 10)]) {
    const tokens = tokenizer.encode(completion)
    const positions = parseTemplate(template, config, tokenizer)
    expect(positions).toHaveLength(config.answer.block)
    expect(positions.map((token, i) => (token < 0 ? tokens[i] : token))).toEqual(tokens)
    expect(tokenizer.decode(tokens)).toBe(completion)
    const texts = tokens.map((token) => tokenizer.tokenText(token))
    expect(texts).toEqual(positionTexts(completion, layout))
    for (const text of texts) expect(task.alphabet).toContain(text)
  }
  expect(parseTemplate(config.template?.example ?? '', config, tokenizer)).toContain(-1)
})

it('makes no two stories of the same form, and the same ones for the same seed', () => {
  expect(new Set(made.map(({ template }) => task.form(template))).size).toBe(300)
  expect(draw(task, 20)).toEqual(made.slice(0, 20))
  expect(draw(task, 20, 2)).not.toEqual(made.slice(0, 20))
})

it('knows a story that is told of other people, places and things, or in other slots', () => {
  const story = (text: string, before = 0) =>
    task.form(`Story:${' -'.repeat(SLOT * before)}${text}`)
  const clauses = ' Mary _ _ Tom _ _ Anna _ _'
  const one = story(` Mary entered the hall.${clauses} Tom went to Mary.${clauses}`)
  expect(story(` Anna entered the yard.${clauses} Tom went to Anna.${clauses}`, 3)).toBe(one)
  expect(story(` Mary entered the hall.${clauses} Tom entered the hall.${clauses}`)).not.toBe(one)
  expect(story(` Mary entered the hall.${clauses} Mary went to Tom.${clauses}`)).not.toBe(one)
})

it('leaves out excluded stories', () => {
  const exclude = made.map(({ template }) => task.form(template))
  for (const { template } of drawExamples(task, { count: 300, seed: 1, exclude }))
    expect(exclude).not.toContain(task.form(template))
})

it('trains every slot that longer stories use', () => {
  const stories = made.map(({ template }) => slotsOf(positionTexts(template, layout), layout))
  for (let slot = 0; slot < options.room; slot++)
    expect(stories.filter((slots) => slots[slot]?.sentence[4] === '.').length).toBeGreaterThan(20)
})

it.each([
  [() => worldTask({ ...options, sentences: { min: 3, max: 13 } }), /sentences .*within 1 to 12/],
  [() => worldTask({ ...options, hops: { min: 0, max: 13 } }), /hops .*within 0 to 12/],
  [() => worldTask({ ...options, room: 0 }), /room .*within 1 to/],
])('refuses options out of range (%#)', (make, message) => {
  expect(make).toThrow(message)
})

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { writeTaskModel } from '../../src/cli/task-model.js'
import { parseTemplate } from '../../src/generation/core/prepare.js'
import { readConfig } from '../../src/model/config.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { drawExamples, type Task } from '../../src/train/tasks/task.js'
import { worldTask } from '../../src/train/tasks/world.js'
import { PEOPLE, SENTENCE } from '../../src/train/tasks/world-story.js'

const draw = (task: Task, count: number, seed = 1) => [...drawExamples(task, { count, seed })]

const options = { sentences: { min: 6, max: 10 }, hops: { min: 1, max: 3 }, room: 15 }
const task = worldTask(options)
const deep = worldTask({ ...options, hops: { min: 5, max: 6 } })
const long = worldTask({ ...options, sentences: { min: 11, max: 15 } })
const made = draw(task, 300)

const sentencesOf = (text: string): string[][] =>
  text
    .replace('Story:', '')
    .replaceAll(' -', '')
    .trim()
    .split('.')
    .filter(Boolean)
    .map((sentence) => sentence.trim().split(' '))

/**
 * Retells a story whose blanks are open, and returns what stands in them and the longest chain of lookups.
 * It keeps a table of who has what and who is where, with the number of lookups that each entry took.
 */
function retell(template: string): { text: string; hops: number } {
  type Entry = [value: string, hops: number]
  const where = new Map<string, Entry>()
  const what = new Map<string, Entry>()
  let deepest = 0
  const has = (name: string): Entry => what.get(name) ?? ['nothing', 0]
  const ask = (entry: Entry | undefined): Entry => {
    if (!entry) throw new Error('asks for what was never told')
    deepest = Math.max(deepest, entry[1] + 1)
    return [entry[0], entry[1] + 1]
  }
  const told = sentencesOf(template).map(([who = '', verb = '', ...rest]) => {
    switch (verb) {
      case 'went':
      case 'walked':
      case 'ran': {
        expect(where.get(who)?.[0]).not.toBe(rest[3])
        where.set(who, [rest[3] as string, 0])
        return [who, verb, ...rest]
      }
      case 'followed': {
        const place = ask(where.get(rest[0] as string))
        where.set(who, place)
        return [who, verb, rest[0], 'to', 'the', place[0]]
      }
      case 'took':
      case 'found': {
        expect(has(who)[0]).toBe('nothing')
        what.set(who, [rest[0] as string, 0])
        return [who, verb, rest[0], 'in', 'the', ask(where.get(who))[0]]
      }
      case 'gave': {
        const [other = ''] = rest
        expect(where.get(who)?.[0]).toBe(where.get(other)?.[0])
        const [given, returned] = [ask(has(who)), ask(has(other))]
        what.set(who, returned).set(other, given)
        return [who, verb, other, given[0], 'for', returned[0]]
      }
      default:
        expect(verb).toBe('has')
        return [who, verb, ask(has(who))[0], 'in', 'the', ask(where.get(who))[0]]
    }
  })
  return { text: told.map((words) => words.join(' ')).join('. '), hops: deepest }
}

it('makes answers that follow from the story, with the stated number of hops', () => {
  for (const { completion, facts, template } of [...made, ...draw(deep, 60), ...draw(long, 60)]) {
    const { hops, text } = retell(template)
    expect(text).toBe(
      sentencesOf(completion)
        .map((words) => words.join(' '))
        .join('. '),
    )
    expect(hops).toBe(facts['hops'])
    expect(sentencesOf(template)).toHaveLength((facts['sentences'] as number) + PEOPLE)
  }
})

it('tells who has what and where for everybody in the story', () => {
  for (const { completion } of made) {
    const sentences = sentencesOf(completion)
    const end = sentences.slice(-PEOPLE).map(([name]) => name)
    const known = sentences
      .slice(0, -PEOPLE)
      .flatMap(([name, verb, third]) =>
        verb === 'followed' || verb === 'gave' ? [name, third] : [name],
      )
    expect(new Set(end)).toEqual(new Set(known))
    expect(new Set(end).size).toBe(PEOPLE)
  }
})

it('gives every sentence the same number of positions, in a model that accepts its templates', () => {
  const directory = mkdtempSync(join(tmpdir(), 'basin-world-'))
  writeTaskModel(directory, 'world', task)
  const config = readConfig(directory)
  const tokenizer = openTokenizer(directory)
  expect(tokenizer.vocabSize).toBe(config.vocab_size)
  for (const { completion, template } of [...made.slice(0, 40), ...draw(long, 10)]) {
    const tokens = tokenizer.encode(completion)
    const positions = parseTemplate(template, config, tokenizer)
    expect(positions).toHaveLength(config.answer.block)
    expect(positions.map((token, i) => (token < 0 ? tokens[i] : token))).toEqual(tokens)
    expect(tokenizer.decode(tokens)).toBe(completion)
    const texts = tokens.map((token) => tokenizer.tokenText(token))
    for (const text of texts) expect(task.alphabet).toContain(text)
    for (let end = 2 + SENTENCE - 1; end < texts.length; end += SENTENCE)
      expect(['.', ' -']).toContain(texts[end])
  }
  expect(parseTemplate(config.template?.example ?? '', config, tokenizer)).toContain(-1)
})

it('makes no two stories of the same form, and the same ones for the same seed', () => {
  expect(new Set(made.map(({ template }) => task.form(template))).size).toBe(300)
  expect(draw(task, 20)).toEqual(made.slice(0, 20))
  expect(draw(task, 20, 2)).not.toEqual(made.slice(0, 20))
})

it('knows a story that was told with other names, places and things, or in other slots', () => {
  const story = (text: string) => task.form(`Story: - - - - - - -${text}`)
  const one = story(' Mary went over to the kitchen. Tom followed Mary to the _.')
  expect(story(' Lucy walked over to the yard. John followed Lucy to the _.')).toBe(one)
  expect(task.form('Story: Mary went over to the hall. Tom followed Mary to the _. - -')).toBe(one)
  expect(story(' Mary went over to the kitchen. Mary followed Tom to the _.')).not.toBe(one)
})

it('leaves out excluded stories', () => {
  const exclude = made.map(({ template }) => task.form(template))
  for (const { template } of drawExamples(task, { count: 300, seed: 1, exclude }))
    expect(exclude).not.toContain(task.form(template))
})

it('trains every slot that longer stories use', () => {
  const templates = made.map(({ template }) => template.replaceAll('.', ' .').split(' '))
  const filled = (slot: number): number =>
    templates.filter((texts) => texts[1 + slot * SENTENCE] !== '-').length
  for (let slot = 0; slot < options.room; slot++) expect(filled(slot)).toBeGreaterThan(10)
})

it.each([
  [() => worldTask({ ...options, sentences: { min: 6, max: 16 } }), /sentences .*within 4 to 15/],
  [() => worldTask({ ...options, hops: { min: 0, max: 3 } }), /hops .*within 1 to 15/],
  [() => worldTask({ ...options, room: 3 }), /room .*within 4 to/],
])('refuses options out of range (%#)', (make, message) => {
  expect(make).toThrow(message)
})

/**
 * The same structure and the same sampling at every door: completions, chats, responses and the socket, each
 * through the typed client, the library, and the command line.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Schema from 'typebox/schema'
import { WebSocket } from 'ws'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BasinClient as Client, ResponseFormat, SocketLike } from '../../src/client/index.js'
import type { AnswerRequest, Model } from '../../src/library/library.js'
import { BasinClient, openModel } from '../support/built-library.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const run = promisify(execFile)
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const schema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 8 }, age: { type: 'integer', maximum: 30 } },
  required: ['name', 'age'],
  additionalProperties: false,
}
const rules = 'root ::= word " " word\nword ::= [a-z]{2,4}'
const isAnimal = (text: string): boolean => Schema.Check(schema, JSON.parse(text))
const matches = (expression: RegExp) => (text: string) => expression.test(text)
/** An object of any fields may be longer than an answer: then it is the beginning of one. */
const isObject = matches(/^\{(?:\}|"(?:[^"\\]|\\.)*(?:"(?:: [^]*|:?)|\\?)$)/)

/** The fields of the API that every door has. */
interface Asked {
  model: string
  seed: number
  temperature?: number
  min_p?: number
  repetition_penalty?: number
  guided_json?: object
  guided_regex?: string
  guided_choice?: string[]
  guided_grammar?: string
  structured_outputs?: {
    json?: object
    json_object?: boolean
    regex?: string
    choice?: string[]
    grammar?: string
  }
  response_format?: ResponseFormat
}

const structures: [string, Partial<Asked>, (text: string) => boolean][] = [
  ['guided_json', { guided_json: schema }, isAnimal],
  ['guided_regex', { guided_regex: '[0-9]{3}-[a-f]' }, matches(/^[0-9]{3}-[a-f]$/)],
  ['guided_choice', { guided_choice: ['yes', 'no'] }, matches(/^(yes|no)$/)],
  ['guided_grammar', { guided_grammar: rules }, matches(/^[a-z]{2,4} [a-z]{2,4}$/)],
  ['structured_outputs.json', { structured_outputs: { json: schema } }, isAnimal],
  ['structured_outputs.regex', { structured_outputs: { regex: 'a{4}' } }, matches(/^a{4}$/)],
  ['structured_outputs.choice', { structured_outputs: { choice: ['b'] } }, matches(/^b$/)],
  [
    'structured_outputs.grammar',
    { structured_outputs: { grammar: rules } },
    matches(/^[a-z]{2,4} [a-z]{2,4}$/),
  ],
  ['structured_outputs.json_object', { structured_outputs: { json_object: true } }, isObject],
  ['response_format.json_object', { response_format: { type: 'json_object' } }, isObject],
  [
    'response_format.json_schema',
    { response_format: { type: 'json_schema', json_schema: { name: 'animal', schema } } },
    isAnimal,
  ],
]

const prompt = 'Once upon a time'

describe.skipIf(!shipped)('every door', () => {
  let server: Server
  let client: Client
  let model: Model
  beforeAll(async () => {
    server = await Server.start(shippedModels, '--model', 'stories')
    const Socket = WebSocket as unknown as new (url: string, protocols?: string[]) => SocketLike
    client = new BasinClient({ url: server.url, WebSocket: Socket })
    model = await openModel('stories', { threads: 1 })
  })
  afterAll(async () => {
    await model.close()
    await server.stop()
  })

  const messages = [{ role: 'user' as const, content: prompt }]
  const doors: Record<string, (asked: Asked, tokens: number) => Promise<string>> = {
    completions: async (asked, max_tokens) =>
      (await client.complete({ ...asked, prompt, max_tokens })).choices[0]?.text ?? '',
    chat: async (asked, max_tokens) =>
      (await client.chat({ ...asked, messages, max_tokens })).choices[0]?.message.content ?? '',
    responses: async ({ response_format: format, ...asked }, tokens) => {
      const text = format && {
        text: {
          format:
            format.type === 'json_schema'
              ? { type: format.type, ...format.json_schema }
              : { type: format.type },
        },
      }
      const request = { ...asked, ...text, input: prompt, max_output_tokens: tokens }
      const { output } = await client.respond(request)
      return output.flatMap((each) => (each.type === 'message' ? each.content : []))[0]?.text ?? ''
    },
    socket: async (asked, max_tokens) => {
      let text = ''
      for await (const event of client.refine({ ...asked, prompt, max_tokens }))
        if (event.type === 'finished') text = event.text
      return text
    },
    library: async (asked, maxTokens) =>
      (await model.generate({ ...camelCase(asked), prompt, maxTokens })).text,
  }

  it.each(Object.keys(doors))('of %s holds a text to each structure', async (name) => {
    for (const [structure, fields, holds] of structures) {
      const text = (await doors[name]?.({ model: 'stories', seed: 3, ...fields }, 200)) ?? ''
      expect([structure, text, holds(text)]).toEqual([structure, text, true])
    }
  })

  it.each(Object.keys(doors))('of %s draws as it is asked to', async (name) => {
    const ask = (fields: Partial<Asked>) =>
      doors[name]?.({ model: 'stories', seed: 1, ...fields }, 24)
    const likely = await ask({ temperature: 0 })
    // Only the most probable token is as probable as the most probable one.
    expect(await ask({ temperature: 1, min_p: 1 })).toBe(likely)
    expect(await ask({ temperature: 1 })).not.toBe(likely)
    const penalised = (await ask({ temperature: 0, repetition_penalty: 100 })) ?? ''
    expect(penalised).not.toBe(likely)
    const words = penalised.match(/[a-z]+/g) ?? []
    expect(words.length).toBeGreaterThan(3)
    expect(new Set(words).size).toBe(words.length)
  })

  it('refuses two structures, and what a schema may not say, by the name of the field', async () => {
    const fields = { guided_regex: 'a', structured_outputs: { json_object: true } }
    const two = { model: 'stories', seed: 1, ...fields }
    const odd = { model: 'stories', seed: 1, guided_json: { type: 'integer', multipleOf: 3 } }
    for (const [name, ask] of Object.entries(doors)) {
      const refused = async (asked: Asked) =>
        (await ask(asked, 9).catch((error: unknown) => error)) as { param?: string }
      expect([name, (await refused(two)).param]).toEqual([name, 'guided_regex'])
      expect([name, (await refused(odd)).param]).toEqual([name, 'guided_json.multipleOf'])
    }
  })

  describe('of the command line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'basin-doors-'))
    const file = (name: string, text: string): string => {
      const path = join(folder, name)
      writeFileSync(path, text)
      return path
    }
    const generate = async (...flags: string[]): Promise<string> => {
      const args = [main, 'generate', prompt, '--seed', '3', '--max-tokens', '200', ...flags]
      return (await run(process.execPath, args)).stdout.replace(/\n$/, '')
    }

    it('holds a text to each structure', { timeout: 120_000 }, async () => {
      const asked: [string[], (text: string) => boolean][] = [
        [['--json'], isObject],
        [['--json-schema', file('schema.json', JSON.stringify(schema))], isAnimal],
        [['--regex', '[0-9]{3}'], matches(/^[0-9]{3}$/)],
        [['--choice', 'yes', '--choice', 'no'], matches(/^(yes|no)$/)],
        [['--grammar', file('rules.gbnf', rules)], matches(/^[a-z]{2,4} [a-z]{2,4}$/)],
      ]
      for (const [flags, holds] of asked) {
        const text = await generate(...flags)
        expect([flags[0], text, holds(text)]).toEqual([flags[0], text, true])
      }
    })

    it('draws as it is asked to', { timeout: 120_000 }, async () => {
      const short = ['--max-tokens', '24']
      const likely = await generate(...short, '--temperature', '0')
      expect(await generate(...short, '--temperature', '1', '--min-p', '1')).toBe(likely)
      expect(await generate(...short, '--temperature', '1', '--top-p', '0')).toBe(likely)
      const penalty = ['--temperature', '0', '--repetition-penalty', '100']
      expect(await generate(...short, ...penalty)).not.toBe(likely)
    })

    it('says what is wrong with a file of a structure', async () => {
      await expect(generate('--json-schema', join(folder, 'none'))).rejects.toThrow(
        /It cannot be read: ENOENT/,
      )
      await expect(generate('--json-schema', file('broken.json', '{'))).rejects.toThrow(
        /structured_outputs.json: is not JSON/,
      )
    })
  })
})

/** The names of the library, which has one model. */
function camelCase(asked: Asked): AnswerRequest {
  const own = (name: string) =>
    name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())
  const fields = Object.entries(asked).filter(([name]) => name !== 'model')
  return Object.fromEntries(fields.map(([name, value]) => [own(name), value]))
}

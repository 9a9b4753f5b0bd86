/**
 * Texts that must match a structure, from the built server with `stories`, a model of whole answers, and an
 * imported one.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Schema from 'typebox/schema'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importModel } from '../support/imported-model.js'
import { Peer } from '../support/peer.js'
import { type CompletionBody, Server, shipped, shippedModels } from '../support/process.js'
import type { ErrorBody } from '../support/server.js'

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 16 },
    age: { type: 'integer', minimum: 1, maximum: 120 },
    tags: { type: 'array', items: { enum: ['big', 'red', 'kind'] }, minItems: 1, maxItems: 3 },
    home: { anyOf: [{ type: 'null' }, { type: 'number' }] },
  },
  required: ['name', 'age', 'tags', 'home'],
  additionalProperties: false,
}
const PUZZLE = '_4______6__1_5__2___45____1__63_____'

describe.skipIf(!shipped)('a text with a structure', () => {
  let server: Server
  beforeAll(async () => {
    server = await Server.start(shippedModels, '--model', 'stories', '--model', 'sudoku6')
  })
  afterAll(() => server.stop())

  const ask = (body: object): Promise<CompletionBody> =>
    server.complete({ model: 'stories', prompt: 'Once upon a time', max_tokens: 120, ...body })
  const textsOf = async (body: object): Promise<string[]> =>
    (await ask(body)).choices.map(({ text }) => text)

  it('is JSON of its schema in every one of 50 draws', async () => {
    const format = { type: 'json_schema', json_schema: { name: 'someone', schema, strict: true } }
    for (let seed = 0; seed < 50; seed += 10) {
      const asked = { response_format: format, temperature: 1, n: 10, seed }
      const { choices } = await ask(asked)
      for (const { finish_reason, text } of choices) {
        expect([text, finish_reason]).toEqual([text, 'stop'])
        expect([text, Schema.Check(schema, JSON.parse(text))]).toEqual([text, true])
      }
    }
  })

  it('matches an expression, at temperature 0 too', async () => {
    const expression = '[A-Z][a-z]{2,9}, [a-z ]{5,20}\\.'
    for (const temperature of [0, 1]) {
      const [text = ''] = await textsOf({ guided_regex: expression, temperature })
      expect(text).toMatch(new RegExp(`^${expression}$`))
    }
  })

  it('is one of the choices, and has the log-probabilities of the free model', async () => {
    const guided_choice = [' there was a cat', ' "a\\big" dog', '\n']
    for (const seed of [1, 2, 3]) {
      const [text = ''] = await textsOf({ guided_choice, seed, logprobs: 1 })
      expect(guided_choice).toContain(text)
    }
  })

  it('follows rules', async () => {
    const guided_grammar = 'root ::= word (" " word){2} "!"\nword ::= [a-z]{1,8}'
    const [text = ''] = await textsOf({ guided_grammar, min_p: 0.01, repetition_penalty: 1.2 })
    expect(text).toMatch(/^[a-z]{1,8}( [a-z]{1,8}){2}!$/)
  })

  it('can be asked for by the names of newer versions of vLLM', async () => {
    const [json = ''] = await textsOf({ structured_outputs: { json: JSON.stringify(schema) } })
    expect(Schema.Check(schema, JSON.parse(json))).toBe(true)
    const [digits = ''] = await textsOf({ structured_outputs: { regex: '[0-9]{3}' } })
    expect(digits).toMatch(/^[0-9]{3}$/)
  })

  it('is the same whole and streamed, and for chats and responses', async () => {
    const messages = [{ role: 'user', content: 'Once upon a time' }]
    const response_format = { type: 'json_schema', json_schema: { name: 'someone', schema } }
    const asked = { model: 'stories', messages, response_format, max_tokens: 120, seed: 7 }
    const whole = (await (await server.post('/v1/chat/completions', asked)).json()) as {
      choices: [{ message: { content: string } }]
    }
    const { content } = whole.choices[0].message
    expect(Schema.Check(schema, JSON.parse(content))).toBe(true)
    const stream = await server.post('/v1/chat/completions', { ...asked, stream: true })
    const deltas = [...(await stream.text()).matchAll(/"content":("(?:[^"\\]|\\.)*")/g)]
    expect(deltas.map(([, delta = '""']) => JSON.parse(delta) as string).join('')).toBe(content)
    const text = { format: { type: 'json_schema', name: 'someone', schema } }
    const asks = {
      model: 'stories',
      input: 'Once upon a time',
      text,
      max_output_tokens: 120,
      seed: 7,
    }
    const response = (await (await server.post('/v1/responses', asks)).json()) as {
      status: string
      text: object
      output: [{ content: [{ text: string }] }]
    }
    expect(response).toMatchObject({ status: 'completed', text })
    expect(response.output[0].content[0].text).toBe(content)
  })

  it('says of an answer that fills a template what each position may hold', async () => {
    const asked = { model: 'sudoku6', prompt: '', template: '_'.repeat(36), seed: 1 }
    const guided_regex = '[12]6[^1-4].{33}'
    const { choices } = await server.complete({ ...asked, guided_regex })
    expect(choices[0]?.finish_reason).not.toBe('unsatisfied')
    expect(choices[0]?.text).toMatch(/^[12]6[56][1-6]{33}$/)
    const guided_choice = ['142635536241653124214563421356365412']
    const chosen = await server.complete({ ...asked, template: PUZZLE, guided_choice })
    expect(chosen.choices[0]?.text).toBe(guided_choice[0])
  })

  it('goes on from where a held answer is reopened', async () => {
    const peer = await Peer.connect(server.socket)
    const guided_regex = '(ab|cd){4}'
    peer.say({ type: 'start', model: 'stories', prompt: 'Once', max_tokens: 20, guided_regex })
    const first = await peer.finished()
    peer.say({ type: 'extend', steps: 2 })
    const second = await peer.finished()
    for (const { text } of [first, second]) expect(text).toMatch(/^(ab|cd){4}$/)
    await peer.close()
  })

  it.each<[object, string, string]>([
    [{ guided_regex: '([' }, 'guided_regex', 'invalid_request'],
    [{ guided_grammar: 'root ::= other' }, 'guided_grammar', 'invalid_request'],
    [{ guided_grammar: 'root ::= root' }, 'guided_grammar', 'invalid_request'],
    [{ guided_choice: [] }, 'guided_choice', 'invalid_request'],
    [{ guided_regex: 'a', guided_choice: ['a'] }, 'guided_regex', 'invalid_request'],
    [
      { guided_json: { type: 'integer', multipleOf: 3 } },
      'guided_json.multipleOf',
      'not_supported',
    ],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'a' } } },
      'response_format.json_schema.schema',
      'invalid_request',
    ],
    [{ template: 'a_', guided_regex: 'a' }, 'guided_regex', 'not_supported'],
    [
      { model: 'sudoku6', prompt: null, template: PUZZLE, guided_regex: 'a' },
      'guided_regex',
      'not_supported',
    ],
    [{ min_p: 2 }, 'min_p', 'out_of_range'],
    [{ repetition_penalty: 0 }, 'repetition_penalty', 'out_of_range'],
  ])('is refused with %j for %s with %s', async (body, param, code) => {
    const asked = { model: 'stories', prompt: 'Once', ...body }
    const reply = await server.post('/v1/completions', asked)
    expect(((await reply.json()) as ErrorBody).error).toMatchObject({ param, code })
    expect(reply.status).toBe(400)
    // The model answers as before.
    expect(await textsOf({ guided_regex: 'a{3}' })).toEqual(['aaa'])
  })

  it('ends with its client, while other requests go on', async () => {
    const controller = new AbortController()
    const body = {
      model: 'stories',
      prompt: 'Once',
      guided_regex: '[a-z ]{900,2000}',
      max_tokens: 200,
    }
    const left = server.post('/v1/completions', body, controller.signal)
    const others = Promise.all([1, 2, 3].map((seed) => textsOf({ max_tokens: 10, seed })))
    setTimeout(() => {
      controller.abort()
    }, 50)
    await expect(left).rejects.toThrow('abort')
    expect((await others).flat()).toHaveLength(3)
    await expect.poll(() => server.metric('basin_slots_used')).toBe(0)
  })
})

describe('a text of an imported model with a tokenizer of Hugging Face', () => {
  let server: Server
  beforeAll(async () => {
    const root = mkdtempSync(join(tmpdir(), 'basin-structure-'))
    await importModel(root, 'imported')
    server = await Server.start(root)
  })
  afterAll(() => server.stop())

  it('is JSON of its schema in every one of 30 draws', async () => {
    const asked = { prompt: 'Once', guided_json: schema, max_tokens: 400, n: 10 }
    for (let seed = 0; seed < 30; seed += 10) {
      const { choices } = await server.complete({ ...asked, model: 'imported', seed })
      for (const { finish_reason, text } of choices) {
        expect([text, finish_reason]).toEqual([text, 'stop'])
        expect([text, Schema.Check(schema, JSON.parse(text))]).toEqual([text, true])
      }
    }
  })
})

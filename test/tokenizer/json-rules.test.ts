/** Schemas as rules: whatever tokens are drawn among those allowed, the text is JSON that matches its schema. */
import Schema from 'typebox/schema'
import { beforeAll, describe, expect, it } from 'vitest'
import { isAllowed } from '../../src/tokenizer/grammar/grammar.js'
import { rulesOfSchema } from '../../src/tokenizer/grammar/json-rules.js'
import { integersBetween } from '../../src/tokenizer/grammar/number-rules.js'
import { GrammarCompiler } from '../../src/tokenizer/grammar/xgrammar.js'
import { pick, randomOf } from '../support/arbitrary.js'

const utf8 = new TextEncoder()
const pieces = [
  '{"',
  '": ',
  ', ',
  '"}',
  '\\u',
  '\\"',
  'é',
  '😀',
  '\t"',
  '\n',
  '10',
  '-',
  '"a"',
  'tru',
]
const vocabulary = [
  ...Array.from({ length: 128 }, (_, byte) => Uint8Array.of(byte)),
  ...pieces.map((piece) => utf8.encode(piece)),
  new Uint8Array(0),
]
const END = vocabulary.length - 1
const MOST_TOKENS = 600

const complaints: string[] = []
let compiler: GrammarCompiler

beforeAll(() => {
  compiler = new GrammarCompiler(vocabulary, END, () => complaints.splice(0))
})

/** A text of tokens that are drawn among those allowed; the end is taken as soon as it is allowed, or not. */
async function drawText(rules: string, random: () => number): Promise<string> {
  const matcher = await compiler.matcher({ type: 'ebnf', rules, param: 'schema' })
  const bytes: number[] = []
  for (let count = 0; count < MOST_TOKENS; count++) {
    const mask = await matcher.getNextTokenBitmask()
    const allowed = vocabulary.flatMap((_, id) => (isAllowed(mask, id) ? [id] : []))
    const ends = allowed.includes(END) && (allowed.length === 1 || random() < 0.5)
    // Texts come to their ends sooner where closing signs are preferred.
    const closing = allowed.filter((id) => '"]}'.includes(String.fromCharCode(id)) && id < 128)
    const token = ends
      ? END
      : pick(random, closing.length > 0 && random() < 0.4 ? closing : allowed)
    if (token === END) {
      matcher.dispose()
      return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes))
    }
    if (!matcher.acceptToken(token)) throw new Error(`the token ${token} was not accepted`)
    bytes.push(...(vocabulary[token] ?? []))
  }
  throw new Error('the text has no end')
}

const exact = { additionalProperties: false }

const schemas: [string, object][] = [
  ['texts', { type: 'string' }],
  ['texts of a length', { type: 'string', minLength: 2, maxLength: 5 }],
  ['numbers', { type: 'number' }],
  ['integers', { type: 'integer' }],
  ['integers above a bound', { type: 'integer', minimum: 5 }],
  ['integers below a bound', { type: 'integer', exclusiveMaximum: -17 }],
  ['integers between bounds', { type: 'integer', minimum: -12, maximum: 1034 }],
  ['several types', { type: ['boolean', 'null', 'integer'] }],
  ['constants', { enum: ['a"b', 1.5, null, { a: [1] }, 'é\n'] }],
  ['one constant', { const: 'x' }],
  ['patterns', { type: 'string', pattern: '^(ab|[c-f]+)-\\d{2,3}(\\.\\w)?$' }],
  ['lists', { type: 'array', items: { type: 'boolean' } }],
  ['lists of a length', { type: 'array', items: { type: 'null' }, minItems: 2, maxItems: 4 }],
  ['empty lists', { type: 'array', items: { type: 'null' }, maxItems: 0 }],
  [
    'lists with a head',
    { type: 'array', prefixItems: [{ type: 'null' }], items: { type: 'integer' }, minItems: 3 },
  ],
  ['objects without properties', { type: 'object', ...exact }],
  ['maps', { type: 'object', additionalProperties: { type: 'integer' } }],
  [
    'objects',
    {
      type: 'object',
      properties: {
        name: { type: 'string', maxLength: 4 },
        'odd "name"': { type: 'boolean' },
        age: { type: 'integer' },
        none: { type: 'null' },
      },
      required: ['age'],
      ...exact,
    },
  ],
  [
    'objects whose properties are all optional',
    { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' } }, ...exact },
  ],
  [
    'references and recursion',
    {
      $defs: {
        tree: {
          type: 'object',
          properties: { left: { anyOf: [{ $ref: '#/$defs/tree' }, { type: 'null' }] } },
          required: ['left'],
          ...exact,
        },
      },
      $ref: '#/$defs/tree',
    },
  ],
]

describe('a text that matches the rules of a schema', () => {
  it.each(schemas)('is JSON that matches it: %s', async (_, schema) => {
    const rules = rulesOfSchema(schema, 'schema')
    const random = randomOf(1)
    for (let draw = 0; draw < 25; draw++) {
      const text = await drawText(rules, random)
      expect([text, Schema.Check(schema, JSON.parse(text))]).toEqual([text, true])
    }
  })

  it.each(['date', 'time', 'date-time', 'email', 'ipv4', 'uuid'])(
    'has the format %s',
    async (format) => {
      const schema = { type: 'string', format }
      const text = await drawText(rulesOfSchema(schema, 'schema'), randomOf(2))
      expect([text, Schema.Check(schema, JSON.parse(text))]).toEqual([text, true])
    },
  )

  it('may be any JSON', async () => {
    for (const value of [{ a: [1, -0.5, 'x\\n', null, { b: {} }], c: true }, [], 'x', 0]) {
      const matcher = await compiler.matcher({
        type: 'ebnf',
        rules: rulesOfSchema(true, 'schema'),
        param: 'schema',
      })
      const text = JSON.stringify(value).replaceAll(',', ', ').replaceAll(':', ': ')
      for (const byte of utf8.encode(text))
        expect([text, matcher.acceptToken(byte)]).toEqual([text, true])
      expect(isAllowed(await matcher.getNextTokenBitmask(), END)).toBe(true)
      matcher.dispose()
    }
  })
})

/** As rules have them: literals, ranges of digits and counts of them, groups and alternatives. */
const matches = (expression: string, text: string): boolean =>
  new RegExp(`^${expression.replaceAll(/[" ]/g, '')}$`).test(text)

it('an expression without anchors may stand anywhere in a text', async () => {
  const rules = rulesOfSchema({ type: 'string', pattern: 'x[^a-z]y' }, 'schema')
  const accepts = async (text: string): Promise<boolean> => {
    const matcher = await compiler.matcher({ type: 'ebnf', rules, param: 'schema' })
    return (
      [...utf8.encode(text)].every((byte) => matcher.acceptToken(byte)) &&
      isAllowed(await matcher.getNextTokenBitmask(), END)
    )
  }
  expect(await accepts('"abx1ycd"')).toBe(true)
  expect(await accepts('"abxzycd"')).toBe(false)
  expect(await accepts('"x\ty"')).toBe(false)
})

it.each([
  [0, 9],
  [0, 1034],
  [7, 7],
  [98, 203],
  [-5, 5],
  [-1200, -3],
  [999, 1001],
])('the rules of integers from %i to %i match these and no others', (low, high) => {
  const expression = integersBetween(low, high) ?? ''
  for (let value = -1500; value <= 1500; value++) {
    expect([value, matches(expression, String(value))]).toEqual([
      value,
      value >= low && value <= high,
    ])
  }
  expect(matches(expression, '007')).toBe(false)
})

describe('a schema', () => {
  it.each([
    [{ type: 'integer', multipleOf: 3 }, 'schema.multipleOf'],
    [{ type: 'number', minimum: 0.5 }, 'schema.minimum'],
    [{ type: 'string', format: 'uri' }, 'schema.format'],
    [{ type: 'string', pattern: 'a"b' }, 'schema.pattern'],
    [{ type: 'string', pattern: '(?=a)b' }, 'schema.pattern'],
    [{ type: 'string', pattern: '[ -z]' }, 'schema.pattern'],
    [{ type: 'string', pattern: 'a', maxLength: 3 }, 'schema.maxLength'],
    [{ type: 'string', minLength: 5, maxLength: 3 }, 'schema.maxLength'],
    [{ type: 'text' }, 'schema.type'],
    [{ oneOf: [{ type: 'string' }] }, 'schema.oneOf'],
    [{ anyOf: [], type: 'string' }, 'schema.type'],
    [{ not: {} }, 'schema.not'],
    [{ $ref: 'http://x' }, 'schema.$ref'],
    [{ $ref: '#/nowhere' }, 'schema.$ref'],
    [{ type: 'object', properties: {}, required: ['b'] }, 'schema.required'],
    [
      { type: 'object', properties: { a: { uniqueItems: true } } },
      'schema.properties.a.uniqueItems',
    ],
    [{ type: 'integer', minimum: 5, maximum: 4 }, 'schema'],
    [{ type: 'array', maxItems: 1e6 }, 'schema.maxItems'],
    [5, 'schema'],
  ])('%j is refused for %s', (schema, param) => {
    expect(() => rulesOfSchema(schema, 'schema')).toThrow(expect.objectContaining({ param }))
  })
})

it('names what is wrong with rules and expressions, and compiles others afterwards', async () => {
  for (const wrong of [
    { type: 'ebnf' as const, rules: 'root ::= other', param: 'guided_grammar' },
    { type: 'regex' as const, pattern: '([', param: 'guided_regex' },
  ]) {
    await expect(compiler.matcher(wrong)).rejects.toMatchObject({
      code: 'invalid_request',
      param: wrong.param,
    })
  }
  const right = { type: 'choice' as const, choices: ['a"b\\', 'c\n'], param: 'guided_choice' }
  const matcher = await compiler.matcher(right)
  for (const byte of utf8.encode('c\n')) expect(matcher.acceptToken(byte)).toBe(true)
  expect(isAllowed(await matcher.getNextTokenBitmask(), END)).toBe(true)
})

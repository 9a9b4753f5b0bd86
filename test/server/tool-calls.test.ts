/** Calls of tools: their formats in texts, their fields in requests, and the newest clients with a model that calls. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ToolCallReader } from '../../src/server/openai/tool-calls.js'
import { offeredTools } from '../../src/server/openai/tools.js'
import {
  chatAbility,
  openChatTemplate,
  type ToolFormat,
} from '../../src/tokenizer/chat-template.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { noClients, runClient } from '../support/newest-clients.js'
import { Server, writeModels } from '../support/process.js'
import { configOf } from '../support/models.js'
import { writeToolModel } from '../support/tool-model.js'

interface Called {
  content: string
  calls: [name: string, given: string][]
}

/** What a reader makes of a text that comes in pieces of so many characters. */
function readIn(format: ToolFormat, text: string, size: number): Called {
  const reader = new ToolCallReader(format)
  const found: Called = { content: '', calls: [] }
  for (let at = 0; at < text.length; at += size) {
    const { calls, content } = reader.read(text.slice(at, at + size))
    found.content += content
    found.calls.push(
      ...calls.map((call): [string, string] => [call.function.name, call.function.arguments]),
    )
  }
  found.content += reader.end().content
  return found
}

const weather = '{"name": "weather", "arguments": {"city": "Os}\\"lo"}}'
const given = '{"city":"Os}\\"lo"}'

describe('a reader of calls', () => {
  it.each<[string, ToolFormat, string, Called]>([
    ['plain text', 'hermes', 'a <b> {1}', { content: 'a <b> {1}', calls: [] }],
    [
      'text and two calls',
      'hermes',
      `Well: <tool_call>\n${weather}\n</tool_call>\n<tool_call>${weather}</tool_call> done`,
      {
        content: 'Well: done',
        calls: [
          ['weather', given],
          ['weather', given],
        ],
      },
    ],
    [
      'a call that is no JSON',
      'hermes',
      '<tool_call>\n{weather}\n</tool_call>',
      { content: '{weather} </tool_call>', calls: [] },
    ],
    [
      'a call that does not end',
      'hermes',
      '<tool_call>\n{"name": "wea',
      { content: '{"name": "wea', calls: [] },
    ],
    ['the beginning of a mark', 'hermes', 'a <tool', { content: 'a <tool', calls: [] }],
    [
      'a call without a mark',
      'llama',
      '{"name": "weather", "parameters": {"city": "Oslo"}}',
      { content: '', calls: [['weather', '{"city":"Oslo"}']] },
    ],
    [
      'calls after a mark',
      'llama',
      '<|python_tag|>{"name": "a", "parameters": {}}; {"name": "b", "parameters": {}}',
      {
        content: '',
        calls: [
          ['a', '{}'],
          ['b', '{}'],
        ],
      },
    ],
    ['JSON that is no call', 'llama', '{"a": 1} b', { content: '{"a": 1} b', calls: [] }],
    ['JSON in the text', 'llama', 'a {"name": "b"}', { content: 'a {"name": "b"}', calls: [] }],
    [
      'a list after its mark',
      'mistral',
      `[TOOL_CALLS][${weather}, ${weather}]`,
      {
        content: '',
        calls: [
          ['weather', given],
          ['weather', given],
        ],
      },
    ],
    [
      'a list without its mark',
      'mistral',
      ` [${weather}]`,
      { content: '', calls: [['weather', given]] },
    ],
    ['brackets', 'mistral', '[1] a', { content: '[1] a', calls: [] }],
  ])('finds %s, however the text comes', (_, format, text, expected) => {
    const without = (called: Called) => ({
      ...called,
      content: called.content.replace(/\s+/g, ' ').trim(),
    })
    for (const size of [1, 2, 7, 1000])
      expect(without(readIn(format, text, size))).toEqual(without(expected))
  })
})

const root = writeModels()
const directory = writeToolModel(root, 'tools')

describe('a chat template', () => {
  const tokenizer = openTokenizer(directory)
  const chat = openChatTemplate(directory, tokenizer)
  const tool = {
    type: 'function',
    function: { name: 'weather', parameters: { type: 'object', properties: {} } },
  } as const
  const rendered = (...args: Parameters<NonNullable<typeof chat>['encode']>) =>
    tokenizer.decode(chat?.encode(...args) ?? [])

  it('reads tools, calls and what tools said', () => {
    const calls = [
      {
        id: 'call_1',
        type: 'function',
        function: { name: 'weather', arguments: { city: 'Oslo' } },
      },
    ] as const
    const text = rendered(
      [
        { role: 'user', content: 'How warm?' },
        { role: 'assistant', content: '', tool_calls: calls },
        { role: 'tool', content: '12', tool_call_id: 'call_1' },
      ],
      [tool],
    )
    expect(text).toContain('tools:\n{"type": "function", "function": {"name": "weather"')
    expect(text).toContain(
      'assistant: \n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>\ntool: 12\n',
    )
  })

  it('refuses tools that spell special tokens', () => {
    const named = { ...tool, function: { ...tool.function, description: '<|endoftext|>' } }
    expect(() => rendered([{ role: 'user', content: 'a' }], [named])).toThrow(
      /tools\.0: contains <\|endoftext/,
    )
  })

  it('says how its model writes calls', () => {
    const abilityOf = (source: string) => {
      writeFileSync(join(root, 'tokenizer_config.json'), JSON.stringify({ chat_template: source }))
      return chatAbility(root)
    }
    expect(abilityOf('{{ messages }}')).toEqual({ chat: true })
    expect(abilityOf('{{ tools }} <tool_call>')).toEqual({ chat: true, tools: 'hermes' })
    expect(abilityOf('{{ tools }} [TOOL_CALLS]')).toEqual({ chat: true, tools: 'mistral' })
    expect(abilityOf('{{ tools }} "parameters"')).toEqual({ chat: true, tools: 'llama' })
    expect(abilityOf('{{ tools }}')).toEqual({ chat: true })
  })
})

describe('tools of a request', () => {
  const model = configOf({ name: 'small' })
  const tools = [{ type: 'function' as const, function: { name: 'weather' } }]
  const messages = [{ role: 'user' as const, content: 'a' }]

  it.each<[object, ToolFormat | undefined, RegExp]>([
    [{ tools }, undefined, /tools is not supported: small calls no tools/],
    [{ tool_choice: 'required' }, 'hermes', /tool_choice: needs tools/],
    [{ tools, tool_choice: { type: 'function', function: { name: 'x' } } }, 'hermes', /no tool x/],
    [
      {
        tools: [{ type: 'function', function: { name: 'a', parameters: { not: {} } } }],
        tool_choice: 'required',
      },
      'hermes',
      /tools.*not is not supported/,
    ],
  ])('are refused by the name of the field: %j', (more, format, message) => {
    expect(() => offeredTools({ messages, ...more }, { model, tools: format })).toThrow(message)
  })

  it('are not shown to a model that may call none', () => {
    expect(offeredTools({ messages, tools, tool_choice: 'none' }, { model, tools: 'hermes' })).toBe(
      undefined,
    )
  })
})

describe.skipIf(noClients !== undefined)('the newest clients', () => {
  let server: Server
  beforeAll(async () => {
    server = await Server.start(root, '--engine', 'tfjs:wasm')
  })
  afterAll(() => server.stop())

  it('call tools that a model must or may call, whole and streamed, and send what they said', async () => {
    interface Choice {
      finish_reason: string
      message: {
        content: string | null
        tool_calls: { id: string; function: { name: string; arguments: string } }[]
      }
    }
    interface Found {
      required: Choice
      named: Choice
      streamed: Choice
      several: Choice
      chunks: {
        finish_reason: string | null
        delta: { content?: string; tool_calls?: { index: number; id: string }[] }
      }[]
      further: { content: string }
      prompts: [number, number]
      refused: object
      executed: object[]
      sdk: { finish: string; calls: { toolName: string; input: object }[] }
    }
    const found = await runClient<Found>('tools.mjs', server.url)
    for (const choice of [found.required, found.named, found.streamed]) {
      expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
      const [call] = choice.message.tool_calls
      expect(call?.id).toMatch(/^call_\w{24}$/)
      const input = JSON.parse(call?.function.arguments ?? '') as { city: string; days: number }
      expect(['Oslo', 'Lima']).toContain(input.city)
      expect(input.days).toBeGreaterThanOrEqual(1)
      expect(input.days).toBeLessThanOrEqual(9)
    }
    expect(found.named.message.tool_calls[0]?.function.name).toBe('tides')
    expect(found.streamed.message.tool_calls[0]?.function).toEqual(
      found.named.message.tool_calls[0]?.function,
    )
    expect(found.several).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: expect.stringContaining('Let me see.') as string,
        tool_calls: [
          { function: { name: 'weather', arguments: '{"city":"Oslo","days":2}' } },
          { function: { name: 'weather', arguments: '{"city":"Lima","days":2}' } },
        ],
      },
    })
    const deltas = found.chunks.flatMap(({ delta }) => delta.tool_calls ?? [])
    expect(deltas.map(({ index }) => index)).toEqual([0, 1])
    expect(
      found.chunks
        .map(({ delta }) => delta.content ?? '')
        .join('')
        .trim(),
    ).toBe('Let me see.')
    expect(found.chunks.at(-1)?.finish_reason).toBe('tool_calls')
    expect(found.further.content.length).toBeGreaterThan(0)
    expect(found.prompts[1]).toBeGreaterThan(found.prompts[0])
    expect(found.refused).toMatchObject({ status: 400, param: 'tools', code: 'not_supported' })
    expect(found.sdk).toEqual({
      finish: 'tool-calls',
      calls: [{ toolName: 'weather', input: found.executed[0] }],
    })
  })
})

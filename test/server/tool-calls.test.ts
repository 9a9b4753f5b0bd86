/** Calls of tools: their formats in texts, their fields in requests, and the newest clients with a model that calls. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { apart, type ReplyPart, ToolCallReader } from '../../src/server/openai/tool-calls.js'
import { toolsOf } from '../../src/server/openai/chat-completion.js'
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

/** What a reader makes of a text that comes in pieces of so many characters; contents that follow each other as one. */
function partsIn(format: ToolFormat, text: string, size: number): ReplyPart[] {
  const reader = new ToolCallReader(format, 'a reply')
  const found: ReplyPart[] = []
  for (let at = 0; at < text.length; at += size)
    found.push(...reader.read(text.slice(at, at + size)))
  found.push(...reader.end())
  const joined: ReplyPart[] = []
  for (const part of found) {
    const last = joined.at(-1)
    if (typeof part === 'string' && typeof last === 'string')
      joined[joined.length - 1] = last + part
    else joined.push(part)
  }
  return joined
}

function readIn(format: ToolFormat, text: string, size: number): Called {
  const { calls, content } = apart(partsIn(format, text, size))
  return { content, calls: calls.map((call) => [call.function.name, call.function.arguments]) }
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
    for (const size of [1, 2, 7, 1000]) {
      expect(without(readIn(format, text, size))).toEqual(without(expected))
      expect(partsIn(format, text, size)).toEqual(partsIn(format, text, 1000))
    }
  })

  it('keeps the order of content and calls, and gives calls ids of their own', () => {
    const text = `One: <tool_call>${weather}</tool_call> two: <tool_call>${weather}</tool_call>`
    const parts = partsIn('hermes', text, 1000)
    expect(parts.map((part) => (typeof part === 'string' ? part : 'call'))).toEqual([
      'One: ',
      'call',
      'two: ',
      'call',
    ])
    const { calls } = apart(parts)
    expect(new Set(calls.map(({ id }) => id)).size).toBe(2)
  })

  it('gives calls of Mistral ids of nine characters, as its templates want', () => {
    const { calls } = apart(partsIn('mistral', `[TOOL_CALLS][${weather}]`, 1000))
    expect(calls[0]?.id).toMatch(/^[a-z0-9]{9}$/)
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
    const asked = toolsOf({ messages, ...more })
    expect(() => offeredTools(asked, { model, tools: format })).toThrow(message)
  })

  it('are not shown to a model that may call none', () => {
    const asked = toolsOf({ messages, tools, tool_choice: 'none' })
    for (const format of ['hermes', undefined] as const)
      expect(offeredTools(asked, { model, tools: format })).toBe(undefined)
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

  it('call tools by the Responses API, whole and streamed, and send what they said', async () => {
    interface Item {
      type: string
      id: string
      call_id: string
      name: string
      arguments: string
      content: { text: string }[]
    }
    interface Event {
      type: string
      sequence_number: number
      output_index: number
      item_id: string
      item: Item
      delta: string
      arguments: string
      response: Reply
    }
    interface Reply {
      status: string
      output: Item[]
    }
    interface Found {
      required: Reply
      named: Reply
      streamed: Reply
      several: Reply
      events: Event[]
      further: { text: string; tokens: number }
      again: { text: string; tokens: number }
      before: number
      items: string[]
      refused: object[]
      executed: object[]
      sdk: { steps: { toolName: string; input: object }[][] }
      parts: string[]
      chain: { name: string; args: object }[]
    }
    const found = await runClient<Found>('response-tools.mjs', server.url)
    for (const { output, status } of [found.required, found.named, found.streamed]) {
      expect(status).toBe('completed')
      expect(output.map(({ type }) => type)).toEqual(['function_call'])
      const input = JSON.parse(output[0]?.arguments ?? '') as { city: string; days: number }
      expect(['Oslo', 'Lima']).toContain(input.city)
      expect(input.days).toBeGreaterThanOrEqual(1)
      expect(input.days).toBeLessThanOrEqual(9)
    }
    expect(found.named.output[0]?.name).toBe('tides')
    expect(found.streamed.output[0]?.arguments).toBe(found.named.output[0]?.arguments)
    const calls = ['Oslo', 'Lima'].map((city) => ({
      type: 'function_call',
      name: 'weather',
      arguments: `{"city":"${city}","days":2}`,
    }))
    expect(found.several.output).toMatchObject([
      { type: 'message', content: [{ text: 'Let me see.\n' }] },
      ...calls,
    ])
    const { events } = found
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i))
    const deltas = events.filter(({ type }) => type === 'response.function_call_arguments.delta')
    const done = events.filter(({ type }) => type === 'response.function_call_arguments.done')
    expect(deltas.map(({ delta }) => delta)).toEqual(calls.map((call) => call.arguments))
    expect(done.map((event) => event.arguments)).toEqual(calls.map((call) => call.arguments))
    expect(deltas.map((event) => event.output_index)).toEqual([1, 2])
    const added = events.filter(({ type }) => type === 'response.output_item.added')
    const ended = events.filter(({ type }) => type === 'response.output_item.done')
    expect(added.map(({ item }) => item.id)).toEqual(ended.map(({ item }) => item.id))
    expect(ended.map(({ item }) => item)).toEqual(events.at(-1)?.response.output)
    expect(found.further.text.length).toBeGreaterThan(0)
    expect(found.again.tokens).toBe(found.further.tokens)
    expect(found.further.tokens).toBeGreaterThan(found.before)
    expect(found.items).toEqual([
      'message',
      'message',
      'function_call',
      'function_call',
      'function_call_output',
      'function_call_output',
    ])
    expect(found.refused).toMatchObject([
      { status: 400, param: 'tools', code: 'not_supported' },
      { status: 400, param: 'tools', code: 'not_supported' },
      { status: 400, param: 'tool_choice.name', code: 'invalid_request' },
      { status: 400, param: 'input.0.type', code: 'not_supported' },
      { status: 400, param: 'include', code: 'not_supported' },
    ])
    expect(found.sdk.steps[0]).toEqual([{ toolName: 'weather', input: found.executed[0] }])
    expect(found.sdk.steps).toHaveLength(2)
    expect(found.parts).toContain('tool-call')
    expect(found.chain).toMatchObject([{ name: 'weather' }])
  })
})

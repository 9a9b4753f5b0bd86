/** The newest clients, unmodified, against the built server with the shipped models, over its real socket. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noClients, runClient } from '../../support/newest-clients.js'
import { Server, shipped, shippedModels } from '../../support/process.js'

const SOLUTION = '142635536241653124214563421356365412'

/** What a client makes of the JSON that the model was held to. */
const animal = { name: expect.any(String) as string, age: expect.any(Number) as number }

const reason = noClients ?? (shipped ? undefined : 'the shipped models are not there')

describe.skipIf(reason !== undefined)('the newest clients', () => {
  let server: Server
  beforeAll(async () => {
    server = await Server.start(shippedModels)
  })
  afterAll(() => server.stop())

  it('openai chats, completes, streams, and gets objects and responses', async () => {
    interface Found {
      models: [string, string][]
      chat: string
      streamed: string
      further: string
      boards: Record<string, string>
      object: object
      completion: string
      wrong: { status: number; param: string; message: string }
      responses: string[]
      board: string
      types: string[]
    }
    const found = await runClient<Found>('openai.mjs', server.url)
    expect(found.models.map(([, chat]) => chat)).toEqual(found.models.map(() => 'plain'))
    expect(found.chat.length).toBeGreaterThan(10)
    expect(found.streamed).toBe(found.chat)
    expect(found.further).not.toBe('')
    expect(found.boards).toEqual({ sudoku6: SOLUTION, 'sudoku6-exact': SOLUTION })
    expect(found.object).toEqual(animal)
    expect(found.completion).not.toBe('')
    expect(found.wrong).toMatchObject({ status: 400, param: 'template' })
    expect(found.wrong.message).toContain('send the puzzle as template')
    expect(found.responses.every((text) => text.length > 0)).toBe(true)
    expect(found.board).toBe(SOLUTION)
    expect(found.types.at(-1)).toBe('response.incomplete')
  })

  it('the AI SDK generates objects, and generates and streams text, with its default model', async () => {
    interface Found {
      chat: string
      finish: string
      usage: { inputTokens: number; outputTokens: number }
      streamed: string
      object: object
      completion: string
      board: string
    }
    const found = await runClient<Found>('ai-sdk.mjs', server.url)
    expect(found.chat.length).toBeGreaterThan(10)
    expect(found).toMatchObject({
      finish: 'length',
      streamed: found.chat,
      object: animal,
      board: SOLUTION,
      usage: { outputTokens: 12 },
    })
    expect(found.completion).not.toBe('')
  })

  it('LangChain invokes and streams its chat model, and gets objects of it', async () => {
    interface Found {
      chat: string
      usage: { output_tokens: number }
      streamed: string
      object: object
      responses: string
      board: string
    }
    const found = await runClient<Found>('langchain.mjs', server.url)
    expect(found.chat.length).toBeGreaterThan(10)
    expect(found).toMatchObject({
      streamed: found.chat,
      object: animal,
      board: SOLUTION,
      usage: { output_tokens: 12 },
    })
    expect(found.responses).not.toBe('')
  })
})

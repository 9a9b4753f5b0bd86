/** `basin-ebt/client` and `basin-ebt/server`: the client against a plugin of someone's own server. */
import Fastify, { type FastifyInstance } from 'fastify'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { WebSocket } from 'ws'
import type * as Sent from '../../src/client/index.js'
import type { BasinClient as Client, ResponseEvent } from '../../src/client/index.js'
import { addKey } from '../../src/server/api-keys.js'
import type { ChatRequest as Chat } from '../../src/server/schemas/chat-schema.js'
import type { CompletionRequest as Completion } from '../../src/server/schemas/completion-schema.js'
import type { StartFrame } from '../../src/server/schemas/frame-schema.js'
import type { LandscapeRequest as Landscape } from '../../src/server/schemas/landscape-schema.js'
import type {
  chatRefusals,
  responseRefusals,
  withoutEffect,
} from '../../src/server/schemas/openai-fields.js'
import type { ResponseRequest as Answer } from '../../src/server/schemas/response-schema.js'
import { basin, BasinClient, BasinClientError } from '../support/built-library.js'
import { writeModels } from '../support/process.js'

const models = writeModels()
const options = { models: [join(models, 'letters')], engine: 'tfjs:wasm', threads: 1 }
const keys = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
const key = addKey(keys, 'tester')
const SocketClass = WebSocket as unknown as new (url: string, protocols?: string[]) => never

let app: FastifyInstance
let url: string
let client: Client
beforeAll(async () => {
  app = Fastify()
  app.get('/', () => 'mine')
  await app.register(basin, { ...options, prefix: '/open' })
  await app.register(basin, { ...options, prefix: '/keyed', keys })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
  client = new BasinClient({ url: `${url}/open`, WebSocket: SocketClass })
})
afterAll(() => app.close())

const short = { max_tokens: 4, seed: 5, refinement: { max_steps: 3 } }

describe('the plugin', () => {
  it("leaves the app's own routes and errors to the app", async () => {
    expect(await (await fetch(`${url}/`)).text()).toBe('mine')
    const missing = await fetch(`${url}/nothing`)
    expect(await missing.json()).toMatchObject({ statusCode: 404, error: 'Not Found' })
    const ours = await fetch(`${url}/open/nothing`)
    expect(await ours.json()).toMatchObject({ error: { code: 'not_found' } })
  })

  it('asks for keys where it has them', async () => {
    const stranger = new BasinClient({ url: `${url}/keyed` })
    await expect(stranger.complete({ prompt: 'a' })).rejects.toMatchObject({
      code: 'unauthorized',
      status: 401,
    })
    const known = new BasinClient({ url: `${url}/keyed`, key, WebSocket: SocketClass })
    expect(await known.complete({ prompt: 'a', ...short })).toMatchObject({ model: 'letters' })
    const types = []
    for await (const { type } of known.refine({ prompt: 'a', ...short })) types.push(type)
    expect(types[0]).toBe('started')
  })

  it('refuses two models of one name, which requests could not tell apart', async () => {
    const other = Fastify()
    const [letters = ''] = options.models
    other.register(basin, { ...options, models: [letters, letters] })
    await expect(other.ready()).rejects.toThrow(/have the same name in their config.json, letters/)
  })

  it('rejects with what is wrong with a model', async () => {
    const other = Fastify()
    await expect(other.register(basin, { models: ['no-such-model'] })).rejects.toThrow(
      /no-such-model/,
    )
    await other.close()
  })
})

describe('the client', () => {
  it('lists models', async () => {
    expect((await client.models()).map(({ id }) => id)).toEqual(['letters'])
  })

  it('streams the text that it completes', async () => {
    const whole = await client.complete({ prompt: 'ab', ...short })
    let text = ''
    for await (const { choices } of client.streamCompletion({ prompt: 'ab', ...short }))
      text += choices[0]?.text ?? ''
    expect(text).toBe(whole.choices[0]?.text)
    expect(text).toHaveLength(4)
  })

  it('chats, scores, ranks, embeds and tokenises', async () => {
    const chat = await client.chat({ messages: [{ role: 'user', content: 'ab' }], ...short })
    expect(chat.choices[0]?.message.content).toBeTypeOf('string')
    const scores = await client.score({ prompt: 'a', answers: ['b', 'cd'] })
    expect(scores.data.map(({ tokens }) => tokens)).toEqual([1, 2])
    const ranked = await client.rerank({ query: 'a', documents: ['b', 'c'] })
    expect(ranked.results).toHaveLength(2)
    const { data } = await client.embed({ input: ['ab'] })
    expect(data[0]?.embedding.length).toBeGreaterThan(0)
    const tokens = await client.tokenize({ text: 'abc' })
    expect(await client.detokenize({ tokens })).toBe('abc')
  })

  it('has every field that a request of the API has, with values that it takes', () => {
    /** Those that no client here needs: OpenAI's accounts, other names of the same, and what is refused. */
    type Other =
      | keyof typeof withoutEffect
      | keyof typeof chatRefusals
      | keyof typeof responseRefusals
      | 'stream'
      | 'suffix'
      | 'verbosity'
      | 'prediction'
      | 'modalities'
      | 'truncation'
      | 'image'
      | 'parallel_tool_calls'
      | 'max_tool_calls'
      | 'access_programs'
      | 'background_options'
    expectTypeOf<Exclude<keyof Completion, Other | 'stream_options'>>().toExtend<
      keyof Sent.CompletionRequest
    >()
    expectTypeOf<Exclude<keyof Chat, Other | 'stream_options' | 'reasoning'>>().toExtend<
      keyof Sent.ChatRequest
    >()
    expectTypeOf<Exclude<keyof Answer, Other>>().toExtend<keyof Sent.ResponseRequest>()
    expectTypeOf<Exclude<keyof StartFrame, 'type'>>().toExtend<keyof Sent.RefineRequest>()
    expectTypeOf<keyof Landscape>().toExtend<keyof Sent.LandscapeRequest>()
    expectTypeOf<Sent.CompletionRequest>().toExtend<Completion>()
    expectTypeOf<Sent.ChatRequest>().toExtend<Chat>()
    expectTypeOf<Omit<Sent.ResponseRequest, 'include'>>().toExtend<Answer>()
    expectTypeOf<Sent.RefineRequest & { type: 'start' }>().toExtend<StartFrame>()
    expectTypeOf<Sent.LandscapeRequest>().toExtend<Landscape>()
  })

  it('ends and extends what runs, by its id', async () => {
    const endless = { refinement: { max_steps: 50_000, max_seconds: 200 }, max_tokens: 1 }
    const shown = { stream_options: { include_refinement: true } }
    const chunks = client.streamCompletion({ prompt: 'a', ...endless, ...shown })
    const actions = []
    for await (const { id, refinement } of chunks) {
      if (refinement?.type !== 'step' || refinement.step !== 3) continue
      actions.push(await client.extend(id, { steps: 5 }), await client.finish(id))
    }
    const chat = client.streamChat({
      messages: [{ role: 'user', content: 'a' }],
      ...endless,
      ...shown,
    })
    for await (const { id, refinement } of chat)
      if (refinement?.type === 'step' && refinement.step === 3)
        actions.push(await client.finish(id))
    const { refinement } = endless
    const thinking = { input: 'a', refinement, background: true, max_output_tokens: 1 }
    const { id } = await client.respond(thinking)
    actions.push(await client.finish(id))
    expect(actions.map(({ action, choices }) => [action, choices])).toEqual([
      ['extend', 1],
      ['finish', 1],
      ['finish', 1],
      ['finish', 1],
    ])
  })

  it('gives the landscape around an answer', async () => {
    const { lines } = await client.landscape({
      prompt: 'a',
      points: 5,
      directions: ['random'],
      random: 2,
    })
    expect(lines.map(({ energies }) => energies.length)).toEqual([5, 5])
  })

  it('says what the server refuses, and which field', async () => {
    const error: unknown = await client
      .complete({ prompt: 'a', temperature: 9 })
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(BasinClientError)
    expect(error).toMatchObject({ status: 400, param: 'temperature' })
  })

  it('ends a request when its signal is aborted', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const endless = { prompt: 'a', refinement: { max_steps: null, max_seconds: 200 } }
    const chunks = client.streamCompletion(
      { ...endless, stream_options: { include_refinement: true } },
      { signal },
    )
    const reading = (async () => {
      for await (const { choices } of chunks) if (choices.length > 0) controller.abort()
    })()
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('the socket', () => {
  const endless = { prompt: 'a', max_tokens: 2, refinement: { max_steps: null, max_seconds: 200 } }

  it('gives every event from the start to the end, and closes', async () => {
    const types = []
    for await (const { type } of client.refine({ prompt: 'ab', ...short })) types.push(type)
    expect(types[0]).toBe('started')
    expect(types.filter((type) => type === 'step')).toHaveLength(6)
    expect(types.at(-1)).toBe('finished')
  })

  it('steers: an endless answer finishes when it is told', async () => {
    const answer = client.refine(endless)
    let last
    for await (const event of answer) {
      if (event.type === 'step' && event.step === 3) answer.finish()
      last = event
    }
    expect(last).toMatchObject({ type: 'finished', refinement: { stop_reason: 'finished' } })
  })

  it('extends a held answer', async () => {
    const answer = client.refine({ ...endless, refinement: { max_steps: 3 }, hold: true })
    const steps = []
    for await (const event of answer) {
      if (event.type === 'step') steps.push(event.step)
      if (event.type !== 'finished') continue
      if (steps.length > 3) answer.cancel()
      else answer.extend({ steps: 2 })
    }
    expect(steps).toEqual([1, 2, 3, 4, 5])
  })

  it('throws what is refused', async () => {
    const answer = client.refine({ ...endless, model: 'unknown' })
    await expect(answer[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'model_not_found',
    })
  })

  it('ends when its signal is aborted', async () => {
    const controller = new AbortController()
    const reading = (async () => {
      for await (const { type } of client.refine(endless, { signal: controller.signal }))
        if (type === 'step') controller.abort()
    })()
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('says that the connection broke where there is no server', async () => {
    const nowhere = new BasinClient({ url: 'http://127.0.0.1:1', WebSocket: SocketClass })
    await expect(nowhere.refine(endless)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'disconnected',
    })
  })
})

/** Passes bytes on to the server, and breaks a connection after so many bytes of replies. */
class BreakingProxy {
  connections = 0
  private readonly server: Server
  private readonly sockets = new Set<Socket>()

  constructor(to: number, bytes: number) {
    this.server = createServer((socket) => {
      this.connections++
      const onward = this.pass(socket, to)
      let left = bytes
      onward.on('data', (data: Buffer) => {
        left -= data.length
        socket.write(data.subarray(0, left < 0 ? data.length + left : undefined))
        if (left < 0) socket.destroy()
      })
    })
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy()
    this.server.close()
  }

  private pass(socket: Socket, to: number): Socket {
    const onward = connect(to, '127.0.0.1')
    for (const each of [socket, onward]) {
      this.sockets.add(each)
      each.on('error', () => undefined)
      each.on('close', () => {
        socket.destroy()
        onward.destroy()
      })
    }
    socket.pipe(onward)
    return onward
  }
}

describe('a stream of a stored response', () => {
  const request = { input: 'ab', max_output_tokens: 40, seed: 4, refinement: { max_steps: 2 } }
  const eventsOf = async (from: AsyncIterable<ResponseEvent>): Promise<ResponseEvent[]> => {
    const events = []
    for await (const event of from) events.push(event)
    return events
  }
  const textOf = (events: readonly ResponseEvent[]): string =>
    events.flatMap((event) => ('delta' in event ? [event.delta] : [])).join('')
  const through = async (proxy: BreakingProxy, reconnects?: number): Promise<Client> => {
    const base = await proxy.listen()
    return new BasinClient({ url: `${base}/open`, ...(reconnects !== undefined && { reconnects }) })
  }
  const port = () => (app.server.address() as AddressInfo).port

  it('goes on after connections that break: each event comes once', async () => {
    const whole = await eventsOf(client.streamResponse(request))
    const proxy = new BreakingProxy(port(), 4000)
    try {
      const broken = await eventsOf((await through(proxy)).streamResponse(request))
      expect(proxy.connections).toBeGreaterThan(1)
      expect(broken.map(({ sequence_number: n }) => n)).toEqual(broken.map((_, i) => i))
      expect(textOf(broken)).toBe(textOf(whole))
      expect(broken.at(-1)?.type).toBe(whole.at(-1)?.type)
    } finally {
      proxy.close()
    }
  })

  it('gives up where no connection brings anything new', async () => {
    const { id } = await client.respond(request)
    const proxy = new BreakingProxy(port(), 10)
    try {
      const events = (await through(proxy, 2)).followResponse(id)
      await expect(eventsOf(events)).rejects.toMatchObject({ code: 'disconnected' })
      expect(proxy.connections).toBe(3)
    } finally {
      proxy.close()
    }
  })

  it('can be read again from any event, cancelled and deleted', async () => {
    const { id } = await client.respond({ ...request, background: true })
    const all = await eventsOf(client.followResponse(id))
    expect(await eventsOf(client.followResponse(id, { after: 2 }))).toEqual(all.slice(3))
    expect(all.at(-1)?.type).toBe(`response.${(await client.response(id)).status}`)
    await client.deleteResponse(id)
    await expect(client.response(id)).rejects.toMatchObject({ status: 404 })
  })
})

/** Loading and unloading of models, by an administrator and to make room. The engines are real; running requests are answered. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type EngineClient, startEngineClient } from '../../src/generation/client/engine-client.js'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import { readConfig } from '../../src/model/config.js'
import { buildApart, buildApp } from '../../src/server/app.js'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import { defaultLimits } from '../../src/server/limits.js'
import type { App } from '../../src/server/context.js'
import type { ModelSource } from '../../src/server/models/model-registry.js'
import { writeModel } from '../support/process.js'
import { type ErrorBody, portOf } from '../support/server.js'

const entry = new URL('../../dist/generation/core/worker.js', import.meta.url)
const names = ['one', 'two', 'three'] as const

let root: string
let keys: ApiKeys
let user: string
let admin: string
let models: Map<string, EngineClient>
let app: App
let url: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'basin-admin-'))
  for (const name of names) writeModel(root, name)
  const path = join(root, 'keys.json')
  user = addKey(path, 'user')
  admin = addKey(path, 'admin', true)
  keys = ApiKeys.open(path)
})
afterAll(() => {
  rmSync(root, { recursive: true })
})

const open = (name: string): Promise<EngineClient> =>
  startEngineClient(
    {
      modelPath: join(root, name),
      engine: 'tfjs:wasm',
      threads: 1,
      slots: 2,
      pages: 16,
      maxQueue: 8,
      prefillChunk: 32,
      holdSeconds: 60,
      pauseSeconds: 60,
      watchdogSeconds: 0,
    },
    entry,
  )

const optionsWith = async (room: number) => {
  models = new Map([['one', await open('one')]])
  const bytes = models.get('one')?.memory ?? 0
  const sources = new Map<string, ModelSource>(
    names.map((name) => [
      name,
      {
        model: readConfig(join(root, name)),
        chat: false,
        bytes,
        directory: join(root, name),
        open: () => open(name),
      },
    ]),
  )
  return {
    models,
    sources,
    defaultModel: 'one',
    keys,
    version: '0.0.0-test',
    memoryBytes: room * bytes,
    limits: defaultLimits,
    logger: pino({ level: 'silent' }),
    store: new MemoryStore(2 ** 20),
  }
}

const start = async (room: number): Promise<void> => {
  app = await buildApp(await optionsWith(room))
  url = `http://127.0.0.1:${await portOf(app)}`
}

afterEach(async () => {
  await Promise.all([...models.values()].map((engine) => engine.close()))
  await app.close()
})

const call = (method: string, path: string, key = admin, body?: object): Promise<Response> =>
  fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })

const ask = (model: string | undefined, more: object = {}): Promise<Response> =>
  call('POST', '/v1/completions', user, {
    ...(model !== undefined && { model }),
    prompt: 'once',
    max_tokens: 4,
    temperature: 0,
    ...more,
  })
const stateOf = async (model: string): Promise<string | undefined> => {
  const { data } = (await (await call('GET', '/admin/models')).json()) as {
    data: { id: string; state: string }[]
  }
  return data.find(({ id }) => id === model)?.state
}
const codeOf = async (reply: Response) => ((await reply.json()) as ErrorBody).error.code
const unbounded = {
  refinement: { max_steps: null, tolerance: 0, noise: 0.1, max_seconds: 2 },
  max_tokens: 2,
}
const outstanding = (model: string) => models.get(model)?.outstanding
const soon = { timeout: 30_000, interval: 10 }

describe('an administrator', () => {
  beforeEach(() => start(Infinity))

  it('needs a key, and one with administrator rights', async () => {
    for (const [method, path] of [
      ['GET', '/admin/models'],
      ['POST', '/admin/models/one/load'],
      ['POST', '/admin/models/one/unload'],
    ] as const) {
      expect((await fetch(url + path, { method })).status).toBe(401)
      const reply = await call(method, path, user)
      expect(reply.status).toBe(403)
      expect(await codeOf(reply)).toBe('forbidden')
    }
    expect(await stateOf('one')).toBe('loaded')
  })

  it('loads a model, and unloads it after its running request has been answered', async () => {
    expect(await stateOf('two')).toBe('unloaded')
    expect((await call('POST', '/admin/models/two/load')).status).toBe(200)
    expect(await stateOf('two')).toBe('loaded')
    const running = ask('two', unbounded)
    await expect.poll(() => outstanding('two'), soon).toBe(1)
    expect((await call('POST', '/admin/models/two/unload')).status).toBe(202)
    expect(await stateOf('two')).toBe('leaving')
    expect(await codeOf(await ask('two'))).toBe('model_not_found')
    const answered = await running
    expect(answered.status).toBe(200)
    expect(await answered.json()).toMatchObject({ refinement: { stop_reason: 'max_seconds' } })
    await expect.poll(() => stateOf('two'), soon).toBe('unloaded')
    expect(models.has('two')).toBe(false)
    expect(await codeOf(await ask('two'))).toBe('model_not_found')
    const listed = await (await call('GET', '/v1/models')).text()
    expect(listed).not.toContain('"two"')
    expect((await call('POST', '/admin/models/two/load')).status).toBe(200)
    expect((await ask('two')).status).toBe(200)
    const figures = await (await call('GET', '/metrics')).text()
    expect(figures).toContain('basin_model_loads_total{model="two"} 2\n')
    expect(figures).toContain('basin_model_unloads_total{model="two",reason="asked"} 1\n')
  })

  it('gets an error for a model that is damaged or absent', async () => {
    expect(await codeOf(await call('POST', '/admin/models/four/load'))).toBe('not_found')
    rmSync(join(root, 'three', 'model.safetensors'))
    expect((await call('POST', '/admin/models/three/load')).status).toBe(500)
    expect(await stateOf('three')).toBe('unloaded')
    rmSync(join(root, 'three'), { recursive: true })
    writeModel(root, 'three')
    expect((await call('POST', '/admin/models/three/load')).status).toBe(200)
  })

  it('may load and unload a model many times in a row', async () => {
    const asked = ['load', 'unload', 'load', 'load', 'unload', 'unload', 'load'].map((verb) =>
      call('POST', `/admin/models/two/${verb}`),
    )
    for (const reply of await Promise.all(asked)) expect(reply.status).toBeLessThan(500)
    await call('POST', '/admin/models/two/load')
    expect((await ask('two')).status).toBe(200)
  })
})

describe('with memory for two of three models', () => {
  beforeEach(() => start(2))

  it('a request loads its model, and the one that was idle for longest is unloaded', async () => {
    const listed = (await (await call('GET', '/v1/models')).json()) as { data: { id: string }[] }
    expect(listed.data.map(({ id }) => id)).toEqual([...names])
    expect((await ask('two')).status).toBe(200)
    expect((await ask('one')).status).toBe(200)
    expect((await ask('three')).status).toBe(200)
    expect([...models.keys()].sort()).toEqual(['one', 'three'])
    const together = await Promise.all(['two', 'two', 'two'].map((name) => ask(name)))
    expect(together.map(({ status }) => status)).toEqual([200, 200, 200])
    expect([...models.keys()].sort()).toEqual(['three', 'two'])
  })

  it('a request for a third model gets 503 while the other two are in use', async () => {
    const endless = { max_steps: null, tolerance: 0, min_steps: 100_000 }
    const streamed = { stream: true, stream_options: { include_refinement: true } }
    const running = [
      await ask('one', { refinement: endless, ...streamed }),
      await ask('two', { refinement: endless, ...streamed }),
    ]
    expect([outstanding('one'), outstanding('two')]).toEqual([1, 1])
    const refused = await ask('three')
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(await codeOf(refused)).toBe('no_room')
    for (const reply of running) {
      const id = reply.headers.get('x-completion-id') ?? ''
      expect((await call('POST', `/v1/completions/${id}/finish`, user)).status).toBe(200)
      expect(await reply.text()).toMatch(/\[DONE\]\n\n$/)
    }
    expect((await ask('three')).status).toBe(200)
  })
})

describe('with a port for operations', () => {
  it('metrics and administration are on that port only', async () => {
    const both = await buildApart(await optionsWith(Infinity))
    app = both.app
    const front = `http://127.0.0.1:${await portOf(both.app)}`
    const back = `http://127.0.0.1:${await portOf(both.operations)}`
    const status = async (path: string, key?: string) =>
      (await fetch(path, key === undefined ? {} : { headers: { 'x-api-key': key } })).status
    for (const path of ['/metrics', '/admin/models']) {
      expect(await status(front + path, admin)).toBe(404)
      expect(await status(back + path, admin)).toBe(200)
      expect(await status(back + path)).toBe(401)
    }
    expect(await status(`${back}/metrics`, user)).toBe(200)
    expect(await status(`${back}/health`)).toBe(200)
    expect(await status(`${back}/v1/models`, admin)).toBe(404)
    expect(await status(`${front}/v1/models`, admin)).toBe(200)
    await both.operations.close()
  })
})

it('a rescan adds new models, and removes those whose directories are gone', async () => {
  const before = await optionsWith(3)
  const sources = new Map(before.sources)
  app = await buildApp({ ...before, rescan: () => sources })
  url = `http://127.0.0.1:${await portOf(app)}`
  const rescan = async () => (await call('POST', '/admin/models/rescan')).json()
  expect(await rescan()).toEqual({ object: 'rescan', added: [], removed: [] })
  writeModel(root, 'four')
  const model = readConfig(join(root, 'four'))
  sources.set('four', { model, chat: false, bytes: 1, open: () => open('four') })
  sources.delete('two')
  expect((await ask('four')).status).toBe(404)
  expect(await rescan()).toEqual({ object: 'rescan', added: ['four'], removed: ['two'] })
  expect((await ask('four')).status).toBe(200)
  expect((await ask('two')).status).toBe(404)
  expect((await call('POST', '/admin/models/rescan', user)).status).toBe(403)
})

describe('a model whose energy is a term of requests for another', () => {
  const term = { type: 'model', model: 'two', weight: 1 }
  const bytesOf = async (model: string) => {
    const { data } = (await (await call('GET', '/admin/models')).json()) as {
      data: { id: string; bytes: number }[]
    }
    return data.find(({ id }) => id === model)?.bytes
  }

  it('is opened once beside it, counts in memory, and leaves with it', async () => {
    await start(2)
    const alone = await bytesOf('one')
    for (const weight of [1, -1]) {
      const reply = await ask('one', { energy_terms: [{ ...term, weight }] })
      expect(reply.status).toBe(200)
      const { choices } = (await reply.json()) as {
        choices: { refinement: { terms: { type: string; value: number }[] } }[]
      }
      expect(choices[0]?.refinement.terms).toMatchObject([{ type: 'model', satisfied: true }])
    }
    expect(await bytesOf('one')).toBe(2 * (alone ?? NaN))
    expect(await stateOf('two')).toBe('unloaded')
    await call('POST', '/admin/models/one/unload')
    await expect.poll(() => stateOf('one'), soon).toBe('unloaded')
    expect(await bytesOf('one')).toBe(alone)
  })

  it('is refused where there is no room for it beside the model in use', async () => {
    await start(1)
    const reply = await ask('one', { energy_terms: [term] })
    expect(reply.status).toBe(503)
    const { error } = (await reply.json()) as ErrorBody
    expect(error.code).toBe('no_room')
    expect(error.param).toBe('energy_terms[0].model')
    expect((await ask('one')).status).toBe(200)
  })

  it('is named by the field where there is none of that name, or too many are asked for', async () => {
    await start(2)
    const unknown = { type: 'model', model: 'nine' }
    const reply = await ask('one', {
      energy_terms: [{ type: 'count', token: 'a', equals: 1 }, unknown],
    })
    expect(reply.status).toBe(404)
    const { error } = (await reply.json()) as ErrorBody
    expect(error.code).toBe('model_not_found')
    expect(error.param).toBe('energy_terms[1].model')
    const many = await ask('one', { energy_terms: [term, term, term] })
    expect(many.status).toBe(400)
    expect(((await many.json()) as ErrorBody).error.message).toMatch(
      /at most 2 of type model, got 3/,
    )
  })

  it.each([
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'once' }], max_tokens: 4 }],
    ['/v1/responses', { input: 'once', max_output_tokens: 4 }],
    ['/v1/responses', { input: 'once', max_output_tokens: 4, background: true }],
  ])('is taken by %s', async (path, body) => {
    await start(2)
    const reply = await call('POST', path, user, { model: 'one', energy_terms: [term], ...body })
    expect(reply.status, await reply.clone().text()).toBe(200)
  })
})

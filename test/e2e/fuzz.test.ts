/**
 * A real server under random requests made from its own OpenAPI document, and one in eight under bytes that
 * are hardly HTTP: none makes it fail, hang, or answer with a status that the document does not declare.
 * `npm run fuzz -- http --count 20000 --seed 7` runs more of them (test/fuzz.mjs).
 */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { damaged, pick, type Random, randomOf, type Schema, valueOf } from '../support/arbitrary.js'
import { hostileRequest } from '../support/hostile-bytes.js'
import { RawClient } from '../support/raw-client.js'
import { Server, writeModel } from '../support/process.js'

const requests = Number(process.env['BASIN_FUZZ_COUNT'] ?? 400)
const seed = Number(process.env['BASIN_FUZZ_SEED'] ?? 1)
const AT_ONCE = 8
/** After which a reply counts as missing: the server ends each answer after 1 s. */
const REPLY_TIMEOUT_MS = 120_000
/** The share of inputs that are bytes with faults, and how long the server may keep such a client waiting. */
const BYTES_SHARE = 1 / 8
const BYTES_TIMEOUT_MS = 300

interface Operation {
  method: string
  path: string
  statuses: string[]
  body: Schema | undefined
  query: [string, Schema][]
}

interface Described {
  parameters?: { in: string; name: string; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema } | undefined> }
  responses: Record<string, unknown>
}

interface Sent {
  method: string
  url: string
  headers: Record<string, string>
  body?: string | Uint8Array<ArrayBuffer> | undefined
}

let server: Server
let operations: Operation[]
/** An administrator's. */
let key: string

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'basin-fuzz-'))
  const template = '{% for m in messages %}{{ m.content }} {% endfor %}'
  for (const name of ['letters', 'spare']) {
    const config = JSON.stringify({ chat_template: template })
    writeFileSync(join(writeModel(folder, name), 'tokenizer_config.json'), config)
  }
  const keys = join(folder, 'keys.json')
  key = addKey(keys, 'operator', true)
  const small = ['--max-seconds-cap', '1', '--max-steps-cap', '64', '--max-request-steps', '4096']
  server = await Server.start(
    folder,
    '--slots',
    '8',
    '--log-level',
    'silent',
    '--keys',
    keys,
    ...small,
  )
  const description = await fetch(`${server.url}/openapi.json`, { headers: { 'x-api-key': key } })
  const { paths } = (await description.json()) as {
    paths: Record<string, Record<string, Described>>
  }
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]) => ({
      method: method.toUpperCase(),
      path,
      statuses: Object.keys(responses),
      body: requestBody?.content['application/json']?.schema,
      query: parameters
        .filter((parameter) => parameter.in === 'query')
        .map(({ name, schema }) => [name, schema] as [string, Schema]),
    })),
  )
})
afterAll(() => server.stop())

/** Ids of completions and responses, so that some paths name one that exists. */
const known: string[] = ['none']

/** Paths never name the model `letters`, which must stay loaded for the other requests. */
const pathOf = (path: string, random: Random): string =>
  path.replace(/\{(\w+)\}/g, (_, name) => {
    const good = name === 'model' ? ['spare'] : known.slice(-pick(random, [1, 20]))
    const value = pick(random, random() < 0.7 ? good : ['', 'x', '%', '😀'])
    return random() < 0.05 ? value : encodeURIComponent(value)
  })

function queryOf(query: Operation['query'], random: Random): string {
  const chosen = query.filter(() => random() < 0.5)
  const pairs = chosen.map(([name, schema]): [string, string] => {
    const value = random() < 0.8 ? valueOf(schema, random) : pick(random, ['', 'x', '-1', '1e99'])
    return [name, String(value)]
  })
  return pairs.length > 0 ? `?${new URLSearchParams(pairs).toString()}` : ''
}

function bodyOf(schema: Schema, random: Random): string | Uint8Array<ArrayBuffer> {
  const kind = random()
  if (kind < 0.02) return Uint8Array.from({ length: 40 }, () => Math.floor(random() * 256))
  const { model, prompt, stream } = schema.properties ?? {}
  const value = {
    ...(valueOf(schema, random) as object),
    ...(model && random() < 0.7 && { model: pick(random, ['letters', 'letters', 'spare']) }),
    ...(prompt && random() < 0.5 && { prompt: 'once upon a time' }),
    ...(stream && random() < 0.3 && { stream: true }),
  }
  const text = JSON.stringify(kind < 0.45 ? damaged(value, random) : value)
  if (kind < 0.04) return text.slice(0, Math.floor(random() * text.length))
  return kind < 0.05 ? `${'['.repeat(1000)}${text}` : text
}

function requestOf({ body, method, path, query }: Operation, random: Random): Sent {
  const url = pathOf(path, random) + queryOf(query, random)
  const odd = random() < 0.03
  return {
    method: odd ? pick(random, ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) : method,
    url,
    headers: {
      'content-type': random() < 0.98 ? 'application/json' : pick(random, ['text/plain', 'a/b; c']),
      ...(random() < 0.98 && { 'x-api-key': key }),
    },
    ...(body && { body: bodyOf(body, random) }),
  }
}

/** How often each status was answered, and which operations succeeded at least once. */
const answered: Record<number, number> = {}
const done = new Set<Operation>()

const operationName = ({ method, path }: Operation): string => `${method} ${path}`

/** Of bytes that are hardly HTTP, whose sender leaves where the server waits for more of them. */
const bytesAnswered: Record<string, number> = {}

/** What is wrong with the reply to such bytes; undefined if nothing is. */
async function faultOfBytes(random: Random): Promise<string | undefined> {
  const bytes = hostileRequest(key, random)
  const client = await RawClient.open(Number(new URL(server.url).port))
  const leaving = setTimeout(() => client.leave(), BYTES_TIMEOUT_MS)
  client.send(bytes)
  const text = await client.rest()
  clearTimeout(leaving)
  client.leave()
  const [, status = 'none'] = /^HTTP\/1\.1 (\d+)/.exec(text) ?? []
  bytesAnswered[status] = (bytesAnswered[status] ?? 0) + 1
  const failed = /HTTP\/1\.1 5\d\d|"code":"internal"/.test(text)
  return failed ? `${text.slice(0, 300)} for ${bytes.toString('latin1').slice(0, 600)}` : undefined
}

/** What is wrong with the reply; undefined if nothing is. */
async function fault(operation: Operation, sent: Sent): Promise<string | undefined> {
  const { body, headers, method, url } = sent
  const bodiless = Object.entries(headers).filter(([name]) => name !== 'content-type')
  const reply = await fetch(server.url + url, {
    method,
    ...(body !== undefined && method !== 'GET' ? { headers, body } : { headers: bodiless }),
    signal: AbortSignal.timeout(REPLY_TIMEOUT_MS),
  })
  // It can be steered from here on, while its text is streamed.
  const running = reply.headers.get('x-completion-id')
  if (running) known.push(running)
  const text = await reply.text()
  answered[reply.status] = (answered[reply.status] ?? 0) + 1
  if (reply.ok && method === operation.method) done.add(operation)
  const id = /"id":"((?:cmpl|chatcmpl|resp)[\w-]+)"/.exec(text)?.[1]
  if (id && id !== running) known.push(id)
  if (reply.status >= 500) return `${reply.status} ${text.slice(0, 200)}`
  if (text.includes('"code":"internal"')) return `an internal error within: ${text.slice(-200)}`
  const led =
    new URL(server.url + url).pathname.split('/').length === operation.path.split('/').length
  const declared = operation.statuses.includes(String(reply.status))
  if (method === operation.method && led && !declared) {
    return `undeclared ${reply.status} ${text.slice(0, 200)}`
  }
  return undefined
}

it(
  `${requests} requests of seed ${seed} get no 5xx, no undeclared status, and all a reply`,
  { timeout: Math.max(300_000, requests * 1000) },
  async () => {
    const random = randomOf(seed)
    const statuses: Record<string, number> = {}
    const faults: Record<string, string> = {}
    let left = requests
    const client = async () => {
      while (left-- > 0) {
        if (random() < BYTES_SHARE) {
          const found = await faultOfBytes(random).catch((error: unknown) => String(error))
          if (found !== undefined) faults[`bytes: ${found.slice(0, 60)}`] ??= found
          continue
        }
        const operation = pick(random, operations)
        const sent = requestOf(operation, random)
        const name = operationName(operation)
        const found = await fault(operation, sent).catch((error: unknown) => String(error))
        statuses[name] = (statuses[name] ?? 0) + 1
        if (found === undefined) continue
        const key = `${name}: ${found.slice(0, 60)}`
        faults[key] ??= `${found} for ${sent.method} ${sent.url} ${String(sent.body).slice(0, 400)}`
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, client))
    console.info({ fuzzer: 'http', seed, count: requests, answered, bytesAnswered })
    expect(Object.values(faults)).toEqual([])
    expect(Object.keys(statuses)).toHaveLength(operations.length)
    if (process.env['BASIN_FUZZ_COUNT']) {
      const undone = operations.filter((operation) => !done.has(operation)).map(operationName)
      console.info({ undone })
    }
    for (const status of [200, 400]) expect(answered[status]).toBeGreaterThan(requests / 10)
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
  },
)

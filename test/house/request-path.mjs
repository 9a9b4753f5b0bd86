/**
 * Which files a streamed completion passes, and which calls lead from the worker's message to the bytes of a
 * chunk. Both are measured on a real request to a real model, after others have warmed the server up.
 *
 *   npm run build && node test/house/request-path.mjs models/stories
 *
 * Files: V8 counts in both threads which functions of dist/ are called while the request is served. A file of
 * which any function was called is passed. Functions that run only once, when the server or the worker starts,
 * are not counted; timers and reports of the worker that fall into that time are. The files are in four groups:
 *
 * - `before`: plugins and what reads a request, for any request before its route.
 * - `path`: from the route's handler to the engine and back: server, generation and scheduler.
 * - `library`: functions that the path calls for a value and that know no request: refine, tokenizer, model.
 * - `engine`: src/energy, the inside of the engine.
 *
 * Calls: async_hooks tells which promise each piece of code continued from, and where that promise was
 * resolved. From the write of a chunk this leads back to the worker's message; the functions of dist/ that are
 * on the stacks on the way are the calls. Of all chunks the one with the fewest is taken: its event came when
 * no earlier one was being handled.
 */
import { createHook, executionAsyncId } from 'node:async_hooks'
import { Session } from 'node:inspector/promises'
import { PassThrough } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { BroadcastChannel } from 'node:worker_threads'
import { pino } from 'pino'
import { startEngineClient } from '../../dist/generation/client/engine-client.js'
import { MemoryStore } from '../../dist/jobs/memory-store.js'
import { buildApp } from '../../dist/server/app.js'
import { defaultLimits } from '../../dist/server/limits.js'

const dist = new URL('../../dist/', import.meta.url).href
const workerEntry = new URL('covered-worker.mjs', import.meta.url)
const coverage = { callCount: true, detailed: false }

const groups = [
  [
    'before',
    /^server\/(plugins|models)\/|^server\/(create-app|json-nesting|body-reader|http-request|pending-replies)\.js$/,
  ],
  ['path', /^(server|generation|scheduler)\//],
  ['library', /^(refine|tokenizer|model)\/|^errors\.js$/],
  ['engine', /^energy\//],
]

async function openServer(model) {
  const engine = await startEngineClient(
    {
      modelPath: model,
      engine: 'auto',
      threads: 1,
      slots: 4,
      pages: 64,
      maxQueue: 8,
      prefillChunk: 64,
      holdSeconds: 60,
      pauseSeconds: 60,
      // Its questions would be counted too.
      watchdogSeconds: 0,
    },
    workerEntry,
  )
  const { name } = engine.model
  const app = await buildApp({
    models: new Map([[name, engine]]),
    defaultModel: name,
    limits: defaultLimits,
    logger: pino({ level: 'silent' }),
    version: '0.0.0',
    store: new MemoryStore(2 ** 20),
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const close = async () => {
    await engine.close()
    await app.close()
  }
  return { url, close }
}

async function complete(url, refinement = {}) {
  const reply = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'once upon a time', max_tokens: 8, stream: true, refinement }),
  })
  const text = await reply.text()
  if (!text.endsWith('data: [DONE]\n\n')) throw new Error(`not a whole stream: ${text}`)
}

/** Lets what follows a reply, such as the next report of the worker, come to its end. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 200))

const passed = (scripts) =>
  scripts
    .filter(({ url, functions }) => {
      const called = functions.some(({ ranges: [whole] }) => whole.count > 0)
      return called && url.startsWith(dist)
    })
    .map(({ url }) => url.slice(dist.length))

async function filesPassed(url) {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', coverage)
  const channel = new BroadcastChannel('basin-request-path')
  // Each call returns what was called since the last.
  const take = async () => {
    const ofWorker = new Promise((resolve) => {
      channel.onmessage = ({ data }) => resolve(data)
    })
    channel.postMessage('take')
    const { result } = await session.post('Profiler.takePreciseCoverage')
    return [...result, ...(await ofWorker)]
  }
  await settle()
  await take()
  await complete(url)
  await settle()
  const files = passed(await take())
  channel.close()
  await session.post('Profiler.stopPreciseCoverage')
  session.disconnect()
  return [...new Set(files)].sort()
}

/** The functions of dist/ on a stack, the innermost first, without those that only wait for it. */
const framesOf = (stack) =>
  stack.split('\n').flatMap((line) => {
    const [, name = '(anonymous)', file] =
      /^ +at (?!async )(?:(.+) \()?(file:.+?):\d+:\d+\)?$/.exec(line) ?? []
    return file?.startsWith(dist) ? [{ name, file: file.slice(dist.length) }] : []
  })

/** Answers that take long enough for each of them to come in a message of its own. */
const slow = { max_steps: null, tolerance: 0, noise: 0.1, max_seconds: 0.3 }

/** The chain of calls of each chunk, from the worker's message to the write. */
async function callsToWrite(url) {
  Error.stackTraceLimit = 100
  /** By the id of a continuation: the promise that it continued from. */
  const awaited = new Map()
  /** By the id of a promise: the calls that resolved it, and what these ran in. */
  const resolved = new Map()
  const chains = []
  const hook = createHook({
    init: (id, type, trigger) => {
      if (type === 'PROMISE') awaited.set(id, trigger)
    },
    promiseResolve: (id) => {
      if (!resolved.has(id)) {
        resolved.set(id, { frames: framesOf(new Error().stack), within: executionAsyncId() })
      }
    },
  })
  const chainFrom = (frames) => {
    const chain = [...frames]
    for (let id = executionAsyncId(); awaited.has(id);) {
      const cause = resolved.get(awaited.get(id))
      if (!cause) return undefined
      chain.push(...cause.frames)
      if (cause.frames.some(({ file }) => file.endsWith('worker-thread.js'))) return chain.reverse()
      id = cause.within
    }
    return undefined
  }
  const { write } = PassThrough.prototype
  PassThrough.prototype.write = function (chunk, ...rest) {
    if (typeof chunk === 'string' && chunk.startsWith('data: {')) {
      const chain = chainFrom(framesOf(new Error().stack))
      if (chain) chains.push(chain)
    }
    return write.call(this, chunk, ...rest)
  }
  hook.enable()
  // Now and then no chunk of a completion finds its reader waiting.
  for (let i = 0; i < 8; i++) await complete(url, slow)
  hook.disable()
  PassThrough.prototype.write = write
  return chains.sort((a, b) => a.length - b.length)[0] ?? []
}

const [model, format] = process.argv.slice(2)
if (!model) throw new Error('usage: node test/house/request-path.mjs MODEL_DIRECTORY [--json]')
const { close, url } = await openServer(model)
for (let i = 0; i < 3; i++) await complete(url)
const files = await filesPassed(url)
const calls = await callsToWrite(url)
await close()

const grouped = Object.fromEntries(
  groups.map(([group], i) => [
    group,
    files.filter((file) => groups.findIndex(([, pattern]) => pattern.test(file)) === i),
  ]),
)
if (format === '--json') console.log(JSON.stringify({ files: grouped, calls }))
else {
  for (const [group, names] of Object.entries(grouped)) {
    console.log(`${group}: ${names.length} files\n  ${names.join('\n  ')}`)
  }
  const places = new Set(calls.map(({ file }) => file))
  console.log(`from the worker's message to a chunk: ${calls.length} calls in ${places.size} files`)
  for (const { file, name } of calls) console.log(`  ${file}: ${name}`)
}

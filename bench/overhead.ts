/**
 * What does serving cost beside the engine's own work? Starts the real server, sends it completions with
 * default settings, and compares the time that passes with the time that the engine computes (its share of
 * `basin_engine_seconds_total`). The rest is HTTP, JSON, scheduling, sampling and messages, and the client.
 * First one request after another, of 64 tokens and of 128, as vLLM's benchmark does, then 64 at once; each
 * whole and as a stream of events. For single requests the server's own clock separates its part from the
 * client's: from the head of a request to the end of its reply. The time of a request that computes
 * nothing, but asks the worker to tokenize, is printed as the lower limit.
 */
import { Agent, request } from 'node:http'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../src/model/config.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { defaultThreads, readMetrics, requestsFor, shippedModels, startServer } from './server.js'

const NAME = 'overhead'
const flags = readFlags(NAME, "Compares the time of requests with the engine's own time.", {
  models: { default: shippedModels, help: 'directory of the models' },
  model: { default: 'stories', help: 'name of the model' },
  seconds: { default: '15', help: 'seconds of each measurement' },
  threads: { default: defaultThreads, help: 'threads of the engine' },
})
const { models, model, threads } = flags
const seconds = numberOf(NAME, 'seconds', flags.seconds, 0.1)
const STREAMS = 64
/** Seconds of load before a measurement, in which V8 compiles the code that runs most. */
const WARM_UP_S = 8

const { url, stop } = await startServer({ models, model, threads, 'log-level': 'warn' })
const agent = new Agent({ keepAlive: true, maxSockets: STREAMS })

/** A real client runs on another machine. Here its low priority leaves the cores to the server. */
const CLIENT_NICENESS = 10
setPriority(CLIENT_NICENESS)

const requests = await Promise.all([64, 128].map((tokens) => requestsFor(url, tokens)))
/** Both are for the same model. A grid has one length, for which both are the same. */
const [short, long] = requests.flatMap(([request]) => request ?? [])
if (!short || !long) throw new Error(`${model} is not served`)
const wanted = 'max_tokens' in long ? [short, long] : [short]

/** Uses Node's plain HTTP client: fetch takes more processor time than the server does. */
function post(path: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const sent = request(`${url}${path}`, { agent, headers, method: 'POST' }, (reply) => {
      reply.resume().once('end', resolve).once('error', reject)
      if (reply.statusCode !== 200) reject(new Error(String(reply.statusCode)))
    })
    sent.once('error', reject).end(JSON.stringify(body))
  })
}

const ask = (body: object, stream: boolean, seed: number) =>
  post('/v1/completions', { ...body, seed, stream })

/** Milliseconds of a request that computes nothing. */
async function floor(): Promise<number> {
  const body = { model, text: '1' }
  for (let i = 0; i < 200; i++) await post('/v1/tokenize', body)
  const began = performance.now()
  for (let i = 0; i < 1000; i++) await post('/v1/tokenize', body)
  return (performance.now() - began) / 1000
}

interface Snapshot {
  /** Seconds on the clock. */
  at: number
  /** Seconds that the engine computed. */
  engine: number
  /** Steps of all rows. */
  steps: number
  /** Calls of the engine for a step. */
  ticks: number
  /** Seconds of completions by the server's clock, and their number. */
  served: number
  requests: number
}

async function snapshot(): Promise<Snapshot> {
  const sum = await readMetrics(url)
  return {
    at: performance.now() / 1000,
    engine: sum('basin_engine_seconds_total'),
    steps: sum('basin_refinement_steps_total'),
    ticks: sum('basin_ticks_total'),
    served: sum('basin_http_request_duration_seconds_sum', '/v1/completions'),
    requests: sum('basin_http_request_duration_seconds_count', '/v1/completions'),
  }
}

const wait = (time: number) => new Promise((resolve) => setTimeout(resolve, time * 1000))

/** Measures in the middle of a load, while all clients are busy. */
async function measure(body: object, clients: number, stream: boolean): Promise<void> {
  let going = true
  let seed = 0
  const loads = Array.from({ length: clients }, async () => {
    while (going) await ask(body, stream, seed++)
  })
  await wait(WARM_UP_S)
  const before = await snapshot()
  await wait(seconds)
  const after = await snapshot()
  going = false
  await Promise.all(loads)
  const passed = after.at - before.at
  const engine = after.engine - before.engine
  const ticks = after.ticks - before.ticks
  const rows = (after.steps - before.steps) / ticks
  console.log(
    `${String(clients).padStart(2)} at once, ${lengthOf(body)}${stream ? 'streamed' : 'whole   '}: ` +
      `${passed.toFixed(2)} s, engine ${engine.toFixed(2)} s, overhead ` +
      `${((100 * (passed - engine)) / engine).toFixed(1)} % of engine time, ` +
      `${((1e3 * (passed - engine)) / ticks).toFixed(3)} ms a tick; ` +
      `${((1e3 * engine) / ticks).toFixed(2)} ms of engine and ${rows.toFixed(1)} rows a tick` +
      (clients === 1 ? `; ${ofServer(before, after, engine)}` : ''),
  )
}

const lengthOf = (body: object): string =>
  'max_tokens' in body ? `${String(body.max_tokens).padStart(3)} tokens, ` : ''

function ofServer(before: Snapshot, after: Snapshot, engine: number): string {
  const [served, requests] = [after.served - before.served, after.requests - before.requests]
  const [share, each] = [(100 * (served - engine)) / engine, (1e3 * (served - engine)) / requests]
  return `the server's part ${share.toFixed(1)} %, ${each.toFixed(2)} ms a request`
}

const { answer, context_length, steps } = readConfig(join(models, model))
console.log(describeMachine(measureMachine()))
console.log(
  `model ${model}: ${steps} steps for ${answer.block} position(s), context up to ${context_length}; ` +
    `${threads} engine thread(s); overhead is relative to the engine's time in the same run`,
)
await ask(short, false, 0)
console.log(`a request that computes nothing: ${(await floor()).toFixed(2)} ms`)
for (const body of wanted) {
  for (const stream of [false, true]) await measure(body, 1, stream)
}
for (const stream of [false, true]) await measure(short, STREAMS, stream)
agent.destroy()
stop()

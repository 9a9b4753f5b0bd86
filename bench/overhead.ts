/**
 * What does serving cost beside the engine's own work? Starts the real process, asks it over HTTP for
 * completions of a model as they are by default, and compares the time that passes with the time that the
 * engine computes (its share of `basin_engine_seconds_total`): the rest is HTTP, JSON, scheduling,
 * sampling and messages, and the client. First one request after the other, of 64 tokens and of 128, as
 * vLLM's benchmark asks for, then 64 at once, each whole and as a stream of events. One after the other
 * the server's own clock tells its part from the client's: from the head of a request to the end of its
 * reply. The floor of a request is printed beside it: one that asks the worker to tokenize, and computes
 * nothing.
 *
 *   npm run build && tsc -p bench && node build/bench/overhead.js [models] [model] [seconds]
 */
import { Agent, request } from 'node:http'
import { setPriority } from 'node:os'
import { measureMachine } from './machine.js'
import { requestsFor, shippedModels, startServer } from './server.js'

const [models = shippedModels, model = 'stories', seconds = '15'] = process.argv.slice(2)
const STREAMS = 64
/** Seconds of load before a measurement: code that has just begun to run is not compiled yet. */
const WARMING = 8

const flags = ['--models', models, '--model', model, '--log-level', 'warn']
const { url, stop } = await startServer(...flags)
const agent = new Agent({ keepAlive: true, maxSockets: STREAMS })

/** In earnest it runs elsewhere: here it takes no core from a server that is writing. */
const CLIENT_NICENESS = 10
setPriority(CLIENT_NICENESS)

const asked = await Promise.all([64, 128].map((tokens) => requestsFor(url, tokens)))
/** Of one model; a grid is as long as it is. */
const [short, long] = asked.flatMap(([request]) => request ?? [])
if (!short || !long) throw new Error(`${model} is not served`)
const wanted = 'max_tokens' in long ? [short, long] : [short]

/** Node's plain client: fetch would take more of the processor than the server does. */
function post(path: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const asked = request(`${url}${path}`, { agent, headers, method: 'POST' }, (reply) => {
      reply.resume().once('end', resolve).once('error', reject)
      if (reply.statusCode !== 200) reject(new Error(String(reply.statusCode)))
    })
    asked.once('error', reject).end(JSON.stringify(body))
  })
}

const ask = (body: object, stream: boolean, seed: number) =>
  post('/v1/completions', { ...body, seed, stream })

/** Milliseconds that a request takes which computes nothing. */
async function floor(): Promise<number> {
  const body = { model, text: '1' }
  for (let i = 0; i < 200; i++) await post('/v1/tokenize', body)
  const began = performance.now()
  for (let i = 0; i < 1000; i++) await post('/v1/tokenize', body)
  return (performance.now() - began) / 1000
}

interface Snapshot {
  at: number
  engine: number
  steps: number
  ticks: number
  /** Seconds of completions, and how many. */
  served: number
  requests: number
}

async function snapshot(): Promise<Snapshot> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const at = performance.now() / 1000
  const sum = (name: string, label = '') =>
    text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) && line.includes(label))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0)
  const [engine, steps] = [sum('basin_engine_seconds_total'), sum('basin_refinement_steps_total')]
  const served = sum('basin_http_request_duration_seconds_sum', '/v1/completions')
  const requests = sum('basin_http_request_duration_seconds_count', '/v1/completions')
  return { at, engine, steps, ticks: sum('basin_ticks_total'), served, requests }
}

const wait = (time: number) => new Promise((resolve) => setTimeout(resolve, time * 1000))

/** Over the middle of a load, in which all clients are busy. */
async function measure(body: object, clients: number, stream: boolean): Promise<void> {
  let going = true
  let seed = 0
  const loads = Array.from({ length: clients }, async () => {
    while (going) await ask(body, stream, seed++)
  })
  await wait(WARMING)
  const before = await snapshot()
  await wait(Number(seconds))
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
  return `of the server itself ${share.toFixed(1)} %, ${each.toFixed(2)} ms a request`
}

const { commit, cores, cpu, load, readGBs } = measureMachine()
console.log(
  `${cpu}, ${cores} cores, load ${load.toFixed(1)}, one core reads ${readGBs.toFixed(0)} GB/s, ` +
    `commit ${commit}, model ${model}`,
)
await ask(short, false, 0)
console.log(`a request that computes nothing: ${(await floor()).toFixed(2)} ms`)
for (const body of wanted) {
  for (const stream of [false, true]) await measure(body, 1, stream)
}
for (const stream of [false, true]) await measure(short, STREAMS, stream)
agent.destroy()
stop()

/**
 * Does the server stay responsive while its engines are busy? Starts the real server, keeps a number of
 * completions going, each of which streams every descent step, and measures how long /health takes, beside
 * the same server when it is idle. Prints latencies, the delay of the event loop, the work of the engines,
 * the memory that one answer of 5,000 steps takes, and the time until a dropped client's rows are free.
 */
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { defaultThreads, readMetrics, requestsFor, shippedModels, startServer } from './server.js'

const NAME = 'responsiveness'
const flags = readFlags(NAME, 'Compares the latency of a busy server with that of an idle one.', {
  models: { default: shippedModels, help: 'directory of the models, which are all served' },
  streams: { default: '16', help: 'completions at a time' },
  seconds: { default: '20', help: 'seconds of load' },
  threads: { default: defaultThreads, help: 'threads of each engine' },
})
const { models, threads } = flags
const streams = numberOf(NAME, 'streams', flags.streams, 1)
const seconds = numberOf(NAME, 'seconds', flags.seconds, 0.1)

const { url, stop } = await startServer({ models, threads, 'log-level': 'silent' })
const post = (body: object, signal?: AbortSignal) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })

/** The sum of a metric's samples. */
const metric = async (name: string): Promise<number> => (await readMetrics(url))(name)

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const milliseconds = (value: number) => `${value.toFixed(1)} ms`
const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN

async function healthLatencies(until: number): Promise<number[]> {
  const taken: number[] = []
  while (performance.now() < until) {
    const began = performance.now()
    await (await fetch(`${url}/health`)).arrayBuffer()
    taken.push(performance.now() - began)
    await wait(10)
  }
  return taken.sort((a, b) => a - b)
}

const describe = (sorted: readonly number[]) =>
  [0.5, 0.99, 1].map((q) => milliseconds(quantile(sorted, q))).join(' / ')

const requests = (await requestsFor(url, 48)).map((request) => ({
  ...request,
  ...('template' in request && { refinement: { max_steps: 64 } }),
}))
const streamed = { stream: true, stream_options: { include_refinement: true } }

console.log(describeMachine(measureMachine()))
console.log(
  `models ${requests.map(({ model }) => model).join(' ')}, ${threads} thread(s) each; ${streams} ` +
    'streams of 48 tokens, or of a grid in at most 64 steps; an empty context or a short prompt',
)

const idle = await healthLatencies(performance.now() + 3000)
console.log(`/health, idle: ${describe(idle)} (median / p99 / worst of ${idle.length})`)

const until = performance.now() + seconds * 1000
let bytes = 0
const loads = Array.from({ length: streams }, async (_, i) => {
  while (performance.now() < until) {
    const reply = await post({ ...requests[i % requests.length], ...streamed })
    bytes += (await reply.arrayBuffer()).byteLength
  }
})
await metric('basin_nodejs_eventloop_lag_p99_seconds') // Each scrape begins a new period of measurement.
const steps = await metric('basin_refinement_steps_total')
const tokens = await metric('basin_completion_tokens_total')
const began = performance.now()
const busy = await healthLatencies(until)
const lag = await metric('basin_nodejs_eventloop_lag_p99_seconds')
const spent = (performance.now() - began) / 1000
const stepped = ((await metric('basin_refinement_steps_total')) - steps) / spent
const committed = ((await metric('basin_completion_tokens_total')) - tokens) / spent
await Promise.all(loads)
console.log(
  `/health, ${streams} streams: ${describe(busy)} (median / p99 / worst of ${busy.length})`,
)
const ratios = [0.5, 0.99].map((q) => (quantile(busy, q) / quantile(idle, q)).toFixed(1))
console.log(`/health, busy against idle: ${ratios.join(' / ')} times (median / p99)`)
console.log(`event-loop delay p99, ${streams} streams: ${milliseconds(lag * 1000)}`)
console.log(
  `meanwhile ${stepped.toFixed(0)} row steps/s, ${committed.toFixed(1)} tokens/s, ` +
    `${(bytes / spent / 1024).toFixed(0)} KiB/s of events`,
)

const resident = () => metric('basin_process_resident_memory_bytes')
const [first] = requests
const long = (max: number) => ({
  ...first,
  ...('prompt' in (first ?? {}) && { max_tokens: 1 }),
  refinement: { max_steps: max },
})
await (await post(long(1000))).arrayBuffer()
const before = await resident()
await (await post(long(5000))).arrayBuffer()
const grown = ((await resident()) - before) / 2 ** 20
console.log(`5,000 steps on one answer: resident memory grows by ${grown.toFixed(1)} MiB`)

const leaving = new AbortController()
const dropped = post({ ...long(1), refinement: { max_steps: null, tolerance: 0 } }, leaving.signal)
const gone = dropped.catch(() => undefined)
while ((await metric('basin_slots_used')) === 0) await wait(5)
const left = performance.now()
leaving.abort()
while ((await metric('basin_slots_used')) > 0) await wait(2)
console.log(`a dropped client's rows are free after ${milliseconds(performance.now() - left)}`)
await gone
stop()

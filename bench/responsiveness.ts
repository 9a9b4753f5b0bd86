/**
 * Does the server stay responsive while its engines are busy? Starts the real process, keeps
 * `streams` completions under way, each telling every descent step, and meanwhile asks /health again
 * and again. Prints latencies, the event loop's delay, what the engines did, the memory that one
 * answer of 5,000 steps takes, and how long a dropped client's rows stay taken.
 *
 *   npm run build && tsc -p bench && node build/bench/responsiveness.js [models] [streams] [seconds]
 */
import { measureMachine } from './machine.js'
import { requestsFor, shippedModels, startServer } from './server.js'

const [models = shippedModels, streams = '16', seconds = '20'] = process.argv.slice(2)

const { url, stop } = await startServer('--models', models, '--log-level', 'silent')
const post = (body: object, signal?: AbortSignal) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })

/** The sum of a metric's samples. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

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
const telling = { stream: true, stream_options: { include_refinement: true } }

const { commit, cores, cpu, load } = measureMachine()
console.log(
  `${cpu}, ${cores} cores, load ${load.toFixed(1)}, commit ${commit}, ` +
    `models ${requests.map(({ model }) => model).join(' ')}`,
)

const quiet = await healthLatencies(performance.now() + 3000)
console.log(`/health, idle: ${describe(quiet)} (median / p99 / worst of ${quiet.length})`)

const until = performance.now() + Number(seconds) * 1000
let bytes = 0
const loads = Array.from({ length: Number(streams) }, async (_, i) => {
  while (performance.now() < until) {
    const reply = await post({ ...requests[i % requests.length], ...telling })
    bytes += (await reply.arrayBuffer()).byteLength
  }
})
await metric('basin_nodejs_eventloop_lag_p99_seconds') // a scrape begins a new period
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

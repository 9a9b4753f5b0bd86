/**
 * Does the time that a refusal takes reveal how much of a key was right? Compares the time of
 * keys that are wrong from their first character with that of keys that are wrong in their last one only:
 * for the comparison alone, and for requests to a real server. The two kinds are tried in pairs, in random
 * order and close together, so that other work on the machine affects both. The slowest tenth of each kind
 * is left out as interruptions, and Welch's t tests the difference of the means. |t| above 4.5 is what
 * leakage assessments of hardware (TVLA) call a leak. A comparison that stops at the first wrong character
 * is measured in the same way, to show that this benchmark would find a leak.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addKey, ApiKeys } from '../src/server/api-keys.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { startServer } from './server.js'

const NAME = 'key-timing'
const flags = readFlags(NAME, 'Compares how long keys are refused that are wrong early and late.', {
  requests: { default: '20000', help: 'pairs of requests to a server' },
  comparisons: { default: '400000', help: 'pairs of comparisons without a server' },
})
const requests = numberOf(NAME, 'requests', flags.requests, 2)
const comparisons = numberOf(NAME, 'comparisons', flags.comparisons, 2)
const MODEL = 'stories'

/** Seconds of each attempt, for the two kinds of keys. */
type Samples = readonly [number[], number[]]
const kinds = ['wrong from the start', 'wrong at the end'] as const

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length

/** The mean of the fastest nine tenths, and the variance of that mean. */
function moments(values: readonly number[]): { centre: number; error: number } {
  const kept = [...values].sort((a, b) => a - b).slice(0, Math.floor(0.9 * values.length))
  const centre = mean(kept)
  const variance = mean(kept.map((x) => (x - centre) ** 2)) * (kept.length / (kept.length - 1))
  return { centre, error: variance / kept.length }
}

/** Prints and returns the difference of the two kinds, in seconds. */
function report(what: string, [a, b]: Samples): number {
  const [first, second] = [moments(a), moments(b)]
  const difference = second.centre - first.centre
  const error = Math.sqrt(first.error + second.error)
  const nano = (seconds: number) => `${(seconds * 1e9).toFixed(seconds < 1e-6 ? 2 : 0)} ns`
  console.log(
    `${what}: ${kinds[0]} ${nano(first.centre)}, ${kinds[1]} ${nano(second.centre)}, ` +
      `difference ${nano(difference)} ± ${nano(error)}, t = ${(difference / error).toFixed(2)} ` +
      `(${a.length} of each)`,
  )
  return difference
}

const directory = mkdtempSync(join(tmpdir(), 'basin-timing-'))
const file = join(directory, 'keys.json')
const key = addKey(file, 'alice')

/** ApiKeys of both kinds are made in the same way, so that they differ in their characters only. */
function attempt(kind: number): string {
  const random = Buffer.from(`basin_${randomBytes(24).toString('base64url')}`)
  const near = Buffer.from(key)
  near[near.length - 1] = key.endsWith('A') ? 66 : 65
  return [random, near][kind]?.toString('latin1') ?? ''
}

/** `work` returns the seconds that an attempt took. */
async function gather(
  pairs: number,
  work: (attempt: string) => number | Promise<number>,
): Promise<Samples> {
  const samples: Samples = [[], []]
  for (let i = 0; i < pairs; i++) {
    const first = randomInt(2)
    for (const kind of [first, 1 - first]) {
      samples[kind as 0 | 1].push(await work(attempt(kind)))
    }
  }
  return samples
}

const refused = (act: () => unknown): number => {
  const began = process.hrtime.bigint()
  try {
    act()
  } catch {
    // The error is the refusal, whose time is measured.
  }
  return Number(process.hrtime.bigint() - began) / 1e9
}

console.log(describeMachine(measureMachine()))

const keys = ApiKeys.open(file)
const presented = (text: string) => refused(() => keys.identify({ 'x-api-key': text }))
await gather(20_000, presented)
const own = report('comparison', await gather(comparisons, presented))

/** An unsafe comparison of the key itself, which stops at the first wrong character. */
function naive(text: string): void {
  for (let i = 0; i < key.length; i++) if (text[i] !== key[i]) throw new Error('refused')
}
const careless = (text: string) => {
  createHash('sha256').update(text).digest()
  return refused(() => {
    naive(text)
  })
}
await gather(20_000, careless)
const unsafe = report(
  'comparison that stops at the first wrong character',
  await gather(comparisons, careless),
)
console.log(`the comparison's difference is ${(own / unsafe).toFixed(3)} of the unsafe one's`)

const { url, stop } = await startServer({
  keys: file,
  'log-level': 'silent',
  model: MODEL,
  threads: '1',
})
console.log(`a server of the model ${MODEL}, 1 thread, one request at a time, no answer computed`)
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function ask(text: string): Promise<number> {
  const headers = { authorization: `Bearer ${text}` }
  return new Promise((resolve, reject) => {
    const began = process.hrtime.bigint()
    const sent = request(`${url}/v1/models`, { agent, headers }, (reply) => {
      const seconds = Number(process.hrtime.bigint() - began) / 1e9
      reply.resume().once('end', () => {
        resolve(seconds)
      })
      if (reply.statusCode !== 401) reject(new Error(String(reply.statusCode)))
    })
    sent.once('error', reject).end()
  })
}
await gather(1000, ask)
report('requests', await gather(requests, ask))
agent.destroy()
stop()

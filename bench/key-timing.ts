/**
 * Can a stranger tell from the time that a refusal takes how much of a key was right? Compares keys that
 * are wrong from their first character with ones that are wrong in their last only: by the comparison
 * alone, and by requests to a real server. Each pair is asked in random order, close together, so that
 * what else the machine does falls on both; Welch's t of the differences that remain, after the slowest
 * tenth of either is left out as interruptions. |t| above 4.5 is what leakage assessments of hardware
 * (TVLA) call a leak. A comparison that ends at the first wrong byte is measured in the same way, so that it
 * is seen that this bench would find one.
 *
 *   npm run build && tsc -p bench && node build/bench/key-timing.js [requests] [comparisons]
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addKey, ApiKeys } from '../src/server/api-keys.js'
import { measureMachine } from './machine.js'
import { startServer } from './server.js'

const [requests = 20_000, comparisons = 400_000] = process.argv.slice(2).map(Number)

/** Seconds that each of two kinds of attempt took. */
type Samples = readonly [number[], number[]]
const kinds = ['wrong from the start', 'wrong at the end'] as const

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length

/** Mean and the variance of the mean. */
function moments(values: readonly number[]): { centre: number; error: number } {
  const kept = [...values].sort((a, b) => a - b).slice(0, Math.floor(0.9 * values.length))
  const centre = mean(kept)
  const variance = mean(kept.map((x) => (x - centre) ** 2)) * (kept.length / (kept.length - 1))
  return { centre, error: variance / kept.length }
}

function report(what: string, [a, b]: Samples): void {
  const [first, second] = [moments(a), moments(b)]
  const difference = second.centre - first.centre
  const error = Math.sqrt(first.error + second.error)
  const nano = (seconds: number) => `${(seconds * 1e9).toFixed(seconds < 1e-6 ? 2 : 0)} ns`
  console.log(
    `${what}: ${kinds[0]} ${nano(first.centre)}, ${kinds[1]} ${nano(second.centre)}, ` +
      `difference ${nano(difference)} ± ${nano(error)}, t = ${(difference / error).toFixed(2)} ` +
      `(${a.length} of each)`,
  )
}

const folder = mkdtempSync(join(tmpdir(), 'basin-timing-'))
const file = join(folder, 'keys.json')
const key = addKey(file, 'alice')

/** Both kinds are made in the same way, so that they differ in their characters only. */
function attempt(kind: number): string {
  const stranger = Buffer.from(`basin_${randomBytes(24).toString('base64url')}`)
  const near = Buffer.from(key)
  near[near.length - 1] = key.endsWith('A') ? 66 : 65
  return [stranger, near][kind]?.toString('latin1') ?? ''
}

/** `work` says how many seconds an attempt took. */
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
    // What is timed is the refusal.
  }
  return Number(process.hrtime.bigint() - began) / 1e9
}

const { commit, cores, cpu, load } = measureMachine()
console.log(`${cpu}, ${cores} cores, load ${load.toFixed(1)}, commit ${commit}`)

const keys = ApiKeys.open(file)
const presented = (text: string) => refused(() => keys.identify({ 'x-api-key': text }))
await gather(20_000, presented)
report('comparison', await gather(comparisons, presented))

/** What must not be done: the key itself, character by character, up to the first that is wrong. */
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
report('comparison that stops at the first wrong byte', await gather(comparisons, careless))

const flags = ['--keys', file, '--log-level', 'silent', '--model', 'stories']
const { url, stop } = await startServer(...flags)
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function ask(text: string): Promise<number> {
  const headers = { authorization: `Bearer ${text}` }
  return new Promise((resolve, reject) => {
    const began = process.hrtime.bigint()
    const asked = request(`${url}/v1/models`, { agent, headers }, (reply) => {
      const seconds = Number(process.hrtime.bigint() - began) / 1e9
      reply.resume().once('end', () => {
        resolve(seconds)
      })
      if (reply.statusCode !== 401) reject(new Error(String(reply.statusCode)))
    })
    asked.once('error', reject).end()
  })
}
await gather(1000, ask)
report('requests', await gather(requests, ask))
agent.destroy()
stop()

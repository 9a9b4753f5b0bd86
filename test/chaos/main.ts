/**
 * `npm run chaos`: faults in random order against a real server, and what must hold after each of them:
 *
 * - stored responses have every event once, one ending, and the text of an undisturbed run;
 * - another client is answered all the while, with its text;
 * - slots are free again, and memory and descriptors back to about where they were;
 * - the process ends only where it was killed.
 *
 * Prints a line for each fault and what was violated; ends with 1 if anything was. Not among the faults: a
 * worker thread that is killed, which no one outside the process can do (test/server/worker-restart.test.ts).
 */
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { uniform } from '../../src/refine/random.js'
import { type Dice, type Fault, faults } from './faults.js'
import { Follower } from './follower.js'
import { eventsOf, PATIENCE_MS, responseOf, type Spec, until, World } from './world.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1' },
  },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error('npm run chaos -- --seconds N --seed N: N > 0, and an integer')
  process.exit(2)
}

/** What a process may keep: a heap that has grown to twice its size and stays there, caches, and connections that clients keep open for their next request. */
const SPARE_MEMORY_MIB = 600
const SPARE_DESCRIPTORS = 100

const specs: Spec[] = [0, 1, 2].map((i) => ({ seed: 11 + i, maxSteps: 60 + 40 * i, tokens: 16 }))
const small = {
  model: 'letters',
  prompt: 'upon',
  max_tokens: 4,
  temperature: 0,
  refinement: { max_steps: 4 },
}

let throws = 0
const dice: Dice = (limit) => Math.floor(uniform(seed, 5, throws++) * limit)

const world = new World()
await world.start()

async function undisturbed(spec: Spec): Promise<string> {
  let text = ''
  const reply = await world.post(world.keys.other, '/v1/responses', responseOf(spec))
  for await (const { delta } of eventsOf(reply)) text += delta ?? ''
  return text
}

async function answer(): Promise<string> {
  const reply = await world.post(world.keys.other, '/v1/completions', small)
  const body = (await reply.json()) as { choices?: { text: string }[] }
  return body.choices?.[0]?.text ?? `status ${reply.status}`
}

const expected: string[] = []
for (const spec of specs) expected.push(await undisturbed(spec))
const expectedAnswer = await answer()
let before = world.footprint()
let pid = world.server?.pid

async function violations(fault: Fault, followers: readonly Follower[]): Promise<string[]> {
  const found: string[] = []
  const answered = await until(async () => (await answer()) === expectedAnswer)
  if (!answered) found.push('another client is not answered, or with another text')
  await Promise.all(followers.map(({ done }) => done))
  followers.forEach((follower, i) => {
    if (fault.loses && follower.refused !== undefined) return
    found.push(...follower.faults(expected[i] as string))
  })
  const isIdle = async () => (await world.metric('basin_slots_used')) === 0
  const idle = await until(isIdle, 3 * PATIENCE_MS)
  if (!idle) found.push(`${await world.metric('basin_slots_used')} slots stay taken`)
  if (world.deaths > 0) found.push(`the process ended: ${world.server?.stderr.slice(-500) ?? ''}`)
  if (pid === world.server?.pid) {
    const isBack = () =>
      Promise.resolve(world.footprint().descriptors <= before.descriptors + SPARE_DESCRIPTORS)
    if (!(await until(isBack))) found.push(`${world.footprint().descriptors} descriptors stay open`)
    const { memory } = world.footprint()
    if (memory > before.memory + SPARE_MEMORY_MIB)
      found.push(`memory ${memory.toFixed(0)} MiB, ${before.memory.toFixed(0)} before`)
  } else {
    pid = world.server?.pid
    before = world.footprint()
  }
  return found
}

/** A fault while responses are under way and another client asks again and again. */
async function disturb(fault: Fault): Promise<string[]> {
  const followers = specs.map((spec) => new Follower(world, spec))
  await wait(dice(300))
  const found: string[] = []
  let slowest = 0
  const over = new AbortController()
  const asking = (async () => {
    while (!over.signal.aborted) {
      const began = performance.now()
      const text = await answer().catch(() => undefined)
      // Undefined and refusals: the server is down, stopped or starting.
      if (text === expectedAnswer) slowest = Math.max(slowest, performance.now() - began)
      else if (text !== undefined && !/^status (429|503)$/.test(text))
        found.push(`another client gets ${text} for ${expectedAnswer}`)
      await wait(50)
    }
  })()
  try {
    await fault.happen(world, dice)
  } catch (error) {
    found.push(`${fault.name}: ${(error as Error).message}`)
  }
  over.abort()
  await asking
  found.push(...(await violations(fault, followers)))
  const outcome = found.length === 0 ? 'holds' : 'VIOLATED'
  console.log(`${fault.name}: ${outcome}, slowest answer ${slowest.toFixed(0)} ms`)
  return found
}

const available = faults.filter(({ missing }) => missing === undefined)
for (const { missing, name } of faults) if (missing) console.log(`${name}: left out, ${missing}`)
const end = performance.now() + seconds * 1000
let count = 0
const all: string[] = []
// Each at least once, then in any order.
while (performance.now() < end || count < available.length) {
  const fault = available[count < available.length ? count : dice(available.length)] as Fault
  count++
  for (const each of await disturb(fault)) {
    all.push(each)
    console.log(`  ${each}`)
  }
  if (world.deaths > 0) {
    world.deaths = 0
    await world.start()
  }
}
await world.end()
console.log(`chaos: ${count} faults, ${all.length} violations, seed ${seed}`)
process.exit(all.length > 0 ? 1 : 0)

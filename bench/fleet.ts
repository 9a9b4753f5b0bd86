/**
 * What does it cost to share background responses through Redis? Starts real servers and a real Redis, and measures
 *
 * - the time of a short background response, from its request to its last event: on a server alone, which keeps
 *   responses in memory, then on one of a fleet;
 * - how long an answer takes from a server that goes down to another one, of one that descends without an end: from
 *   the moment when the first begins to leave it until the second has taken it, by the second's own clock;
 * - how many descent steps per second one server of a fleet computes, and how many several do together.
 */
import { findRedis, RedisServer } from '../test/support/redis.js'
import { streamedEvents } from '../test/support/events.js'
import { freePort } from '../test/support/free-port.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { readMetrics, shippedModels, type Started, startServer } from './server.js'

const NAME = 'fleet'
const flags = readFlags(NAME, 'Measures servers that share background responses.', {
  models: { default: shippedModels, help: 'directory of the models' },
  requests: { default: '100', help: 'short responses of each kind of server' },
  moves: { default: '10', help: 'moves between servers' },
  seconds: { default: '10', help: 'seconds of each measurement of steps' },
  servers: { default: '2', help: 'servers that compute together; each has one thread' },
})
const requests = numberOf(NAME, 'requests', flags.requests, 1)
const moves = numberOf(NAME, 'moves', flags.moves, 0)
const seconds = numberOf(NAME, 'seconds', flags.seconds, 1)
const servers = numberOf(NAME, 'servers', flags.servers, 1)
const binary = findRedis()
if (typeof binary === 'string') throw new Error(binary)
const redis = await RedisServer.start(binary, await freePort())
process.once('exit', () => void redis.kill())

const alone = { models: flags.models, model: 'sudoku6', threads: '1', 'log-level': 'warn' }
const shared = { ...alone, 'redis-url': redis.url, fleet: 'on' }
const template = '_4______6__1_5__2___45____1__63_____'
const endless = { template, refinement: { max_steps: null, tolerance: 0, noise: 0.1 } }
const wait = (time: number) => new Promise((resolve) => setTimeout(resolve, time * 1000))

async function post(url: string, path: string, body: object): Promise<Response> {
  const reply = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`)
  return reply
}

async function begin(url: string): Promise<string> {
  const reply = await post(url, '/v1/responses', { ...endless, background: true })
  return ((await reply.json()) as { id: string }).id
}

/** Milliseconds of one response after another, in order of size. */
async function timesOf({ url }: Started): Promise<number[]> {
  const body = { template, refinement: { max_steps: 1 }, background: true, stream: true }
  const times: number[] = []
  for (let i = 0; i < requests + 10; i++) {
    const began = performance.now()
    const events = streamedEvents(await post(url, '/v1/responses', body))
    while (!(await events.next()).done);
    // The first ones warm the process up.
    if (i >= 10) times.push(performance.now() - began)
  }
  return times.sort((a, b) => a - b)
}

const say = (what: string, times: readonly number[]): void => {
  const at = (share: number) => (times[Math.floor(share * (times.length - 1))] ?? 0).toFixed(1)
  console.log(`${what}: ${at(0.5)} ms (median), ${at(0.9)} ms (90th percentile)`)
}

console.log(describeMachine(measureMachine()))
{
  const [one, other] = [await startServer(alone), await startServer(shared)]
  say('a short background response, server alone', await timesOf(one))
  say('the same, in a fleet', await timesOf(other))
  one.stop()
  other.stop()
  await wait(2)
}

/** Servers take turns: the one that computes goes down, the other one takes over, and a new one starts. */
if (moves > 0) {
  let [runner, other] = [await startServer(shared), undefined as Started | undefined]
  const id = await begin(runner.url)
  let [sum, count] = [0, 0]
  for (let i = 0; i < moves; i++) {
    other = await startServer(shared)
    await wait(1)
    runner.stop()
    while ((await readMetrics(other.url))('basin_fleet_move_duration_seconds_count') === 0)
      await wait(0.1)
    const read = await readMetrics(other.url)
    sum += read('basin_fleet_move_duration_seconds_sum')
    count += read('basin_fleet_move_duration_seconds_count')
    runner = other
  }
  await post(runner.url, `/v1/responses/${id}/cancel`, {})
  runner.stop()
  console.log(`a move between servers: ${((1000 * sum) / count).toFixed(1)} ms (mean of ${count})`)
  await wait(2)
}

/** Descent steps per second of some servers together, with 16 answers for each of them. */
async function stepsOf(count: number): Promise<number> {
  const all = await Promise.all(Array.from({ length: count }, () => startServer(shared)))
  const [first] = all
  if (!first) throw new Error('no server')
  const ids = await Promise.all(Array.from({ length: 16 * count }, () => begin(first.url)))
  await wait(3)
  const taken = async () => {
    const each = await Promise.all(all.map(async ({ url }) => readMetrics(url)))
    return each.reduce((sum, read) => sum + read('basin_refinement_steps_total'), 0)
  }
  const before = await taken()
  await wait(seconds)
  const steps = (await taken()) - before
  await Promise.all(ids.map((id) => post(first.url, `/v1/responses/${id}/cancel`, {})))
  for (const server of all) server.stop()
  await wait(2)
  return steps / seconds
}

const one = await stepsOf(1)
const several = await stepsOf(servers)
console.log(
  `descent steps per second: ${one.toFixed(0)} of one server with a thread, ${several.toFixed(0)} of ` +
    `${servers} (${((100 * several) / (servers * one)).toFixed(0)} % of ${servers} times the first)`,
)
process.exit(0)

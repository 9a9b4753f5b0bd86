/**
 * Background answers of mixed budgets on three real servers that share a real Redis, while one server after another
 * is killed, one is paused and Redis is restarted. Returns what was seen, and what was violated:
 *
 * - every answer ends once, its events have no gap and none comes twice, whichever servers tell of them;
 * - the text of an answer that is bounded by steps is that of an undisturbed run;
 * - what is computed a second time was computed within the time between two checkpoints.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { uniform } from '../../src/refine/random.js'
import { isEnd, pathOf, type ResponseEvent, startReplica, textOf } from '../support/fleet.js'
import { freePort } from '../support/free-port.js'
import { streamedEvents } from '../support/events.js'
import { Server, writeModels } from '../support/process.js'
import type { Program } from '../support/debian.js'
import { RedisServer } from '../support/redis.js'

export interface FleetRun {
  answers: number
  kills: number
  /** Times that a server took an answer that another one had lost, or had left. */
  takeovers: number
  /** Of one answer at one kill: events of steps after its checkpoint, and the seconds within which they came. */
  mostSteps: number
  mostSeconds: number
  /** From the first question to the last ending. */
  seconds: number
  violations: string[]
}

interface Options {
  binary: Program
  /** For which servers are killed. */
  seconds: number
  answers: number
  seed: number
  /** Between two kills. */
  interval: number
  say: (line: string) => void
}

/** `bounded`: by steps alone, so that its text is known. */
interface Spec {
  body: object
  bounded: boolean
  /** Its client ends it, this many seconds after it was asked for. */
  finishAfter?: number
}

const CHECKPOINT_S = 1
const LEASE_S = 4
/** For all answers to end once nothing disturbs them. */
const PATIENCE_MS = 300_000
const REPLICAS = 3

/** Answers of a fraction of a second to many seconds; those that are bounded by steps come in a few kinds. */
function specOf(i: number): Spec {
  const base = {
    model: 'letters',
    input: 'once upon a time',
    temperature: 1,
    include: ['basin:refinement_step'],
    background: true,
  }
  const seed = 11 + (i % 5)
  switch (i % 10) {
    case 0:
      return {
        body: { ...base, max_output_tokens: 2, refinement: { max_steps: null, tolerance: 0 } },
        bounded: false,
        finishAfter: 5,
      }
    case 1:
      return {
        body: {
          ...base,
          max_output_tokens: 4,
          refinement: { max_steps: null, max_seconds: 3, tolerance: 0 },
        },
        bounded: false,
      }
    case 2:
    case 3:
      return {
        body: { ...base, seed, max_output_tokens: 40, refinement: { max_steps: 2000 } },
        bounded: true,
      }
    case 4:
      return {
        body: {
          ...base,
          seed,
          max_output_tokens: 8,
          refinement: { max_steps: 500, candidates: 4 },
        },
        bounded: true,
      }
    case 5:
      return {
        body: { ...base, seed, max_output_tokens: 4, refinement: { max_steps: 20_000 } },
        bounded: true,
      }
    default:
      return {
        body: { ...base, seed, max_output_tokens: 16, refinement: { max_steps: 50 } },
        bounded: true,
      }
  }
}

/** One answer, and all that any server has told of it. */
class Watched {
  readonly seen: ResponseEvent[] = []
  /** When each event came, on the clock of `performance.now()`. */
  readonly at: number[] = []
  id = ''
  finished = false

  constructor(readonly spec: Spec) {}

  get ended(): boolean {
    return this.seen.some(isEnd)
  }

  violations(expected: string | undefined): string[] {
    const found: string[] = []
    const gap = this.seen.findIndex((event, n) => event.sequence_number !== n)
    if (gap >= 0)
      found.push(`${this.id}: event ${gap} has number ${this.seen[gap]?.sequence_number ?? -1}`)
    const ends = this.seen.filter(isEnd)
    const [end] = ends
    if (ends.length !== 1) found.push(`${this.id}: ${ends.length} endings`)
    else if (end?.type === 'response.failed')
      found.push(`${this.id}: failed, ${JSON.stringify(end.response?.error)}`)
    else if (expected !== undefined && textOf(this.seen) !== expected)
      found.push(`${this.id}: text ${textOf(this.seen)}, undisturbed ${expected}`)
    return found
  }
}

export async function disturbFleet(options: Options): Promise<FleetRun> {
  const { answers, binary, interval, say, seconds, seed } = options
  let throws = 0
  const dice = (limit: number) => Math.floor(uniform(seed, 5, throws++) * limit)
  const models = writeModels()
  const folder = mkdtempSync(join(tmpdir(), 'basin-fleet-'))
  const port = await freePort()
  let redis = await RedisServer.start(binary, port, folder)
  const probe = new Redis(redis.url, { maxRetriesPerRequest: null })
  probe.on('error', () => undefined)
  const flags = {
    'checkpoint-seconds': `${CHECKPOINT_S}`,
    'fleet-lease-seconds': `${LEASE_S}`,
    'max-queue': '256',
  }
  const expected = await undisturbedTexts(models, answers)
  const start = () => startReplica(models, redis.url, flags)
  const servers = await Promise.all(Array.from({ length: REPLICAS }, start))
  const anyServer = () => servers[dice(servers.length)] as Server
  const all = Array.from({ length: answers }, (_, i) => new Watched(specOf(i)))
  const run: FleetRun = {
    answers,
    kills: 0,
    takeovers: 0,
    mostSteps: 0,
    mostSeconds: 0,
    seconds: 0,
    violations: [],
  }
  const began = performance.now()
  const deadline = new AbortController()

  /** Asks until a server has taken it; a server that dies first may have taken it all the same. */
  const ask = async (watched: Watched, key: string): Promise<void> => {
    while (watched.id === '' && !deadline.signal.aborted) {
      try {
        const reply = await fetch(`${anyServer().url}/v1/responses`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': key },
          body: JSON.stringify(watched.spec.body),
          signal: AbortSignal.timeout(15_000),
        })
        const body = (await reply.json()) as { id?: string; error?: { message: string } }
        if (reply.status < 500 && reply.status !== 200 && reply.status !== 429)
          run.violations.push(`refused with ${reply.status}: ${body.error?.message ?? ''}`)
        if (reply.status < 500 && reply.status !== 429) watched.id = body.id ?? 'refused'
      } catch {
        // The server is down or stands still.
      }
      if (watched.id === '') await wait(200)
    }
  }
  const read = async (watched: Watched): Promise<void> => {
    while (!watched.ended && !deadline.signal.aborted) {
      try {
        const after = watched.seen.at(-1)?.sequence_number ?? -1
        // So that a server that stands still is given up.
        const signal = AbortSignal.any([AbortSignal.timeout(8000), deadline.signal])
        const reply = await fetch(pathOf(anyServer(), watched.id, after), { signal })
        if (reply.status === 404) run.violations.push(`${watched.id}: not found`)
        for await (const event of streamedEvents<ResponseEvent>(reply)) {
          watched.seen.push(event)
          watched.at.push(performance.now())
        }
      } catch {
        // The connection broke; another server goes on.
      }
      await wait(100)
    }
  }
  const finish = async (watched: Watched, after: number): Promise<void> => {
    await wait(after * 1000)
    while (!watched.ended && !deadline.signal.aborted) {
      const url = `${anyServer().url}/v1/responses/${watched.id}/finish`
      const signal = AbortSignal.timeout(15_000)
      const status = await fetch(url, { method: 'POST', signal }).then(
        (reply) => reply.status,
        () => 0,
      )
      if (status === 200) return
      await wait(300)
    }
  }
  const live = async (watched: Watched, i: number): Promise<void> => {
    // The first half is asked for at once, the others while servers are lost.
    if (i >= answers / 2) await wait((i / answers) * seconds * 1000)
    await ask(watched, `${seed}-${i}`)
    const { finishAfter } = watched.spec
    await Promise.all([
      read(watched),
      finishAfter === undefined ? undefined : finish(watched, finishAfter),
    ])
  }
  /** What would be computed a second time of the answers that are under way, if their servers were lost now. */
  const measureLoss = async (): Promise<void> => {
    for (const watched of all.filter(({ ended, id }) => id !== '' && !ended)) {
      const text = await probe.hget(`basin:job:${watched.id}`, 'checkpoint')
      if (text === null) continue
      const { next } = JSON.parse(text) as { next: number }
      const later = watched.at.slice(next)
      const steps = watched.seen.slice(next).filter(({ type }) => type.startsWith('basin:'))
      run.mostSteps = Math.max(run.mostSteps, steps.length)
      const lost = ((later.at(-1) ?? 0) - (later[0] ?? 0)) / 1000
      run.mostSeconds = Math.max(run.mostSeconds, lost)
    }
  }
  const kill = async (index: number): Promise<void> => {
    const server = servers[index] as Server
    run.takeovers += await takeoversOf(server)
    await server.kill()
    run.kills++
    await measureLoss()
    servers[index] = await start()
  }
  const pause = async (index: number): Promise<void> => {
    const server = servers[index] as Server
    say(`SIGSTOP of server ${index} for ${2 * LEASE_S} s`)
    server.signal('SIGSTOP')
    await wait(2 * LEASE_S * 1000)
    server.signal('SIGCONT')
  }
  const restartRedis = async (): Promise<void> => {
    say('kill -9 of Redis, and a new start')
    await redis.kill()
    await wait(1000)
    redis = await RedisServer.start(binary, port, folder)
  }
  const disturb = async (): Promise<void> => {
    const rounds = Math.max(1, Math.floor(seconds / interval))
    const under: Promise<void>[] = []
    for (let round = 1; round <= rounds; round++) {
      await wait(interval * 1000)
      const index = round % REPLICAS
      say(`${(round * interval).toFixed(0)} s: kill -9 of server ${index}`)
      // While it starts again, the others are disturbed.
      under.push(kill(index))
      if (round === 1) under.push(pause((index + 1) % REPLICAS))
      if (round === 2) under.push(restartRedis())
    }
    await Promise.all(under)
  }
  const patience = setTimeout(
    () => {
      deadline.abort()
    },
    seconds * 1000 + PATIENCE_MS,
  )
  await Promise.all([disturb(), ...all.map(live)])
  clearTimeout(patience)
  run.seconds = (performance.now() - began) / 1000
  for (const [i, watched] of all.entries()) {
    run.violations.push(...watched.violations(expected.get(JSON.stringify(watched.spec.body))))
    // What a server tells afterwards is what was seen meanwhile.
    const server = servers[i % REPLICAS] as Server
    const reply = await fetch(`${server.url}/v1/responses/${watched.id}?stream=true`)
    const told: ResponseEvent[] = []
    for await (const event of streamedEvents<ResponseEvent>(reply)) told.push(event)
    if (JSON.stringify(told) !== JSON.stringify(watched.seen))
      run.violations.push(`${watched.id}: another server tells other events`)
  }
  for (const server of servers) run.takeovers += await takeoversOf(server)
  await Promise.all(servers.map((server) => server.stop()))
  probe.disconnect()
  await redis.kill()
  for (const path of [folder, models]) rmSync(path, { recursive: true, force: true })
  return run
}

/** How many answers a server has taken from others that were lost, or have left them. */
async function takeoversOf(server: Server): Promise<number> {
  const text = await fetch(`${server.url}/metrics`, { signal: AbortSignal.timeout(5000) }).then(
    (reply) => reply.text(),
    () => '',
  )
  const counts = text.matchAll(/^basin_fleet_taken_total\{.*how="(?:lost|left)"\} (\d+)$/gm)
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** The texts of one server that nothing disturbs, by what was asked. */
async function undisturbedTexts(models: string, answers: number): Promise<Map<string, string>> {
  const server = await Server.start(models, '--threads', '1')
  const bodies = new Set<string>()
  for (let i = 0; i < answers; i++) {
    const { body, bounded } = specOf(i)
    if (bounded) bodies.add(JSON.stringify(body))
  }
  const texts = await Promise.all(
    [...bodies].map(async (body): Promise<[string, string]> => {
      const whole = { ...(JSON.parse(body) as object), background: false, stream: true }
      const seen: ResponseEvent[] = []
      for await (const event of streamedEvents<ResponseEvent>(
        await server.post('/v1/responses', whole),
      ))
        seen.push(event)
      return [body, textOf(seen)]
    }),
  )
  await server.stop()
  return new Map(texts)
}

/**
 * Is the simulation right? Starts real servers, sends them the requests of a trace over HTTP, and simulates the same
 * requests: the boards that were recorded, with the seeds of the recordings, so that the real answers take the
 * recorded steps. How long a step takes is measured first, on the same servers: by the number of rows, and by the
 * number of servers that compute at once on the cores that they share.
 */
import { Agent, request } from 'node:http'
import { setPriority } from 'node:os'
import { readMetrics, type Started, startServer } from '../server.js'
import { arrivalTimes } from './arrivals.js'
import { Fleet, type FleetOptions, type FleetReport } from './fleet.js'
import { type SimulatedRequest, kindOf, type KindSpec, Workload } from './jobs.js'
import { JumpingReplica } from './jumping-replica.js'
import type { Timing } from './recording.js'
import { percent, short, totals } from './report.js'
import { meanSteps, fullRate, type Profiles, profilesOfKinds } from './simulation.js'
import { Distribution } from './statistics.js'
import { type ServedModel, SteppedReplica } from './stepped-replica.js'

export interface CheckOptions {
  models: string
  replicas: readonly number[]
  /** Of arrivals, for each run. */
  seconds: number
  load: number
  slots: number
  clients: number
  seed: number
}

const checkedKinds: readonly KindSpec[] = [
  { name: 'medium', share: 50, levels: { easy: 0.5, hard: 0.5 }, reasoning_effort: 'medium' },
  { name: 'high', share: 40, levels: { hard: 1 }, reasoning_effort: 'high' },
  {
    name: 'xhigh',
    share: 10,
    levels: { hardest: 1 },
    reasoning_effort: 'xhigh',
    refinement: { max_steps: 1024 },
  },
]

/** A real client runs on another machine. Here its low priority leaves the cores to the servers. */
const CLIENT_NICENESS = 10
/** Requests of the run in which all come at once. */
const BACKLOG = 80
const CALIBRATION_STEPS = 192
const CALIBRATION_REPEATS = 3
/** Rows of the servers that compute at once, when their share of the cores is measured. */
const SHARING_ROWS = 8

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** Agents by the address that they send from, by which a server tells clients apart. */
const agents = new Map<number, Agent>()

function agentOf(client: number): Agent {
  const known = agents.get(client)
  if (known) return known
  const localAddress = `127.0.0.${client + 2}`
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity, localAddress })
  agents.set(client, agent)
  return agent
}

interface Completion {
  choices: { text: string }[]
  refinement: { steps: number }
}

function post(url: string, client: number, body: object): Promise<Completion> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const options = { agent: agentOf(client), headers, method: 'POST' }
    const sent = request(`${url}/v1/completions`, options, (reply) => {
      let text = ''
      reply.setEncoding('utf8').on('data', (data: string) => (text += data))
      reply.once('error', reject).once('end', () => {
        if (reply.statusCode === 200) resolve(JSON.parse(text) as Completion)
        else reject(new Error(`${reply.statusCode ?? 0}: ${text}`))
      })
    })
    sent.once('error', reject).end(JSON.stringify(body))
  })
}

const timed = async (act: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await act()
  return (performance.now() - began) / 1000
}

/** Seconds of a step of `rows` rows on each of these servers at once. */
async function stepOf(
  servers: readonly Started[],
  template: string,
  rows: number,
): Promise<number> {
  // With a target that no energy reaches, each step is a call, as those of searches are.
  const refinement = { max_steps: CALIBRATION_STEPS, energy_target: -1 }
  const body = { template, seed: 1, refinement }
  const load = () =>
    Promise.all(
      servers.flatMap(({ url }) => Array.from({ length: rows }, () => post(url, 0, body))),
    )
  await load()
  let seconds = 0
  for (let i = 0; i < CALIBRATION_REPEATS; i++) seconds += await timed(load)
  return seconds / CALIBRATION_REPEATS / CALIBRATION_STEPS
}

/** What the engine computes for an answer beside its steps. */
async function answerOf({ url }: Started, template: string): Promise<number> {
  const snapshot = async () => {
    const sum = await readMetrics(url)
    const part = (phase: string) => sum('basin_engine_seconds_total', `phase="${phase}"`)
    return { spent: part('observe') + part('read'), answers: sum('basin_completions_total') }
  }
  const before = await snapshot()
  const count = 50
  for (let seed = 0; seed < count; seed++)
    await post(url, 0, { template, seed, refinement: { max_steps: 1 } })
  const after = await snapshot()
  return (after.spent - before.spent) / (after.answers - before.answers)
}

interface Calibration {
  timing: Timing
  /** By the number of servers that compute at once, from 1 on: how many times longer a step takes. */
  slowdowns: readonly number[]
}

async function calibrate(
  servers: readonly Started[],
  template: string,
  slots: number,
  move: number,
): Promise<Calibration> {
  const [first] = servers
  if (!first) throw new RangeError('there is no server')
  const step: { rows: number; seconds: number }[] = []
  for (const rows of [1, 2, 4, 8, 16, 32, 64].filter((each) => each <= slots))
    step.push({ rows, seconds: await stepOf([first], template, rows) })
  const answer = await answerOf(first, template)
  const alone = await stepOf([first], template, SHARING_ROWS)
  const slowdowns = [1]
  for (let busy = 2; busy <= servers.length; busy++)
    slowdowns.push((await stepOf(servers.slice(0, busy), template, SHARING_ROWS)) / alone)
  return { timing: { step, move, answer }, slowdowns }
}

interface Found {
  answers: number
  seconds: number
  steps: number
  queue: number
  latency: Distribution
}

const clientOf = ({ client }: SimulatedRequest): number => Number(client.replace('client ', ''))

/** Sends the requests at their times, in turns to the servers. */
async function real(
  served: ServedModel,
  servers: readonly Started[],
  jobs: readonly SimulatedRequest[],
): Promise<Found> {
  const queued = async () => {
    const all = await Promise.all(servers.map(({ url }) => readMetrics(url)))
    const sum = (name: string) => all.reduce((total, read) => total + read(name), 0)
    const name = 'basin_queue_duration_seconds'
    return { sum: sum(`${name}_sum`), count: sum(`${name}_count`) }
  }
  const before = await queued()
  const latency = new Distribution()
  const began = performance.now()
  let [last, steps] = [0, 0]
  await Promise.all(
    jobs.map(async (job, i) => {
      const board = served.recording.boards[job.board]
      const server = servers[i % servers.length]
      if (!board || !server) throw new RangeError('there is no such board or server')
      const { reasoning_effort, refinement } = job.kind
      const { seed, template } = board
      await wait(Math.max(0, job.arrivedAt - (performance.now() - began) / 1000))
      const sentAt = performance.now()
      const body = { template, seed, reasoning_effort, refinement }
      const reply = await post(server.url, clientOf(job), body)
      last = Math.max(last, (performance.now() - began) / 1000)
      latency.add((performance.now() - sentAt) / 1000)
      steps += reply.refinement.steps
    }),
  )
  const after = await queued()
  const queue = (after.sum - before.sum) / (after.count - before.count)
  return { answers: jobs.length, seconds: last, steps, queue, latency }
}

type NewReplica = (timing: Timing, slowdown: () => number) => SteppedReplica | JumpingReplica

async function simulated(
  replicas: number,
  { slots }: CheckOptions,
  { slowdowns, timing }: Calibration,
  jobs: readonly SimulatedRequest[],
  make: NewReplica,
): Promise<Found> {
  const options: FleetOptions = {
    replicas,
    seed: 1,
    dispatch: 'round-robin',
    maxQueue: Infinity,
    slots,
    backgroundPlaces: 1,
    failureSeconds: Infinity,
    noticeSeconds: 0,
    startSeconds: 0,
    drainSeconds: 0,
  }
  const stepping = { count: () => 0 }
  const slowdown = () => slowdowns[Math.min(stepping.count(), slowdowns.length - 1)] ?? 1
  const fleet = new Fleet(options, () => make(timing, slowdown))
  stepping.count = () => fleet.stepping
  const report: FleetReport = await fleet.run(endingOf(jobs.map((job) => ({ ...job }))))
  const { finished, steps } = totals(report)
  const { latency, queue, seconds } = report
  return { answers: finished, seconds, steps, queue: queue.mean, latency }
}

function* endingOf(jobs: readonly SimulatedRequest[]): Generator<SimulatedRequest, undefined> {
  yield* jobs
  return undefined
}

function jobsOf(
  served: ServedModel,
  options: CheckOptions,
  rate: number,
): Record<string, SimulatedRequest[]> {
  const { clients, seconds, seed } = options
  const kinds = checkedKinds.map((spec) => kindOf(served.model, spec))
  const { boards } = served.recording
  const workload = new Workload(kinds, boards, clients, seed)
  const poisson: SimulatedRequest[] = []
  for (const time of arrivalTimes({ trace: 'poisson', rate, period: seconds, seed })) {
    if (time >= seconds) break
    poisson.push(workload.next(time))
  }
  const backlog = Array.from({ length: BACKLOG }, () => workload.next(0))
  return { poisson, 'all at once': backlog }
}

const difference = (found: number, truth: number): string =>
  `${found >= truth ? '+' : ''}${percent(found - truth, truth)}`

export async function check(served: ServedModel, options: CheckOptions): Promise<void> {
  setPriority(CLIENT_NICENESS)
  const { models, replicas, slots } = options
  const { model, recording } = served
  const flags = {
    models,
    model: model.name,
    threads: '1',
    slots: String(slots),
    'max-queue': '100000',
    'log-level': 'warn',
  }
  const most = Math.max(...replicas)
  const servers = await Promise.all(Array.from({ length: most }, () => startServer(flags)))
  const profiles: Profiles = await profilesOfKinds(served, checkedKinds)
  const kinds = checkedKinds.map((spec) => kindOf(model, spec))
  const { template } = recording.boards[0] ?? { template: '' }
  const calibration = await calibrate(servers, template, slots, recording.timing.move)
  const { slowdowns, timing } = calibration
  console.log(
    `seconds of a step: ${timing.step.map(({ rows, seconds }) => `${rows} rows ${short(seconds)}`).join(', ')}; ` +
      `with 1, 2, ... servers at once ${slowdowns.map(short).join(', ')} times as long`,
  )
  console.log(
    '\n| servers | requests | what | real | by steps | difference | by jumps | difference |',
  )
  console.log('|---|---|---|---|---|---|---|---|')
  const replica = { slots, checkpointSeconds: 0 }
  const calibrated = { ...recording, timing }
  for (const count of replicas) {
    const steps = meanSteps(calibrated, kinds, profiles, slots)
    const slow = slowdowns[count - 1] ?? 1
    const rate = (options.load * count * fullRate(calibrated, slots)) / slow / steps
    for (const [trace, jobs] of Object.entries(jobsOf(served, options, rate))) {
      const by = (make: NewReplica) => simulated(count, options, calibration, jobs, make)
      const found = {
        real: await real(served, servers.slice(0, count), jobs),
        steps: await by((given, slowdown) => {
          const known = { ...served, recording: { ...recording, timing: given } }
          return new SteppedReplica(known, replica, slowdown)
        }),
        jumps: await by(
          (given, slowdown) => new JumpingReplica(given, profiles, replica, slowdown),
        ),
      }
      const figures: [string, (each: Found) => number][] = [
        ['answers a second', ({ answers, seconds }) => answers / seconds],
        ['mean queue time, s', ({ queue }) => queue],
        ['mean latency, s', ({ latency }) => latency.mean],
        ['median latency, s', ({ latency }) => latency.quantile(0.5)],
        ['p99 latency, s', ({ latency }) => latency.quantile(0.99)],
        ['steps', (each) => each.steps],
      ]
      for (const [name, of] of figures) {
        const truth = of(found.real)
        const cells = [found.steps, found.jumps].map(
          (each) => `${short(of(each))} | ${difference(of(each), truth)}`,
        )
        console.log(
          `| ${count} | ${jobs.length} ${trace} | ${name} | ${short(truth)} | ${cells.join(' | ')} |`,
        )
      }
    }
  }
  for (const agent of agents.values()) agent.destroy()
  for (const { stop } of servers) stop()
}

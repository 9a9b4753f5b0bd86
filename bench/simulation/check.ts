/**
 * Is the simulation right? Starts real servers, sends them the requests of a trace over HTTP, and simulates the same
 * requests: the boards that were recorded, with the seeds of the recordings, so that the real answers take the
 * recorded steps. Measured first, on the same servers: how long a step takes by the number of rows, what it costs
 * to move a candidate, and then, with requests that are not compared and come at once, how many times longer all of it
 * takes where HTTP and the clients share the cores: for one server, and for as many as there are cores.
 */
import { Agent, request } from 'node:http'
import { availableParallelism, setPriority } from 'node:os'
import { readMetrics, type Started, startServer } from '../server.js'
import { arrivalTimes } from './arrivals.js'
import { Fleet, type FleetOptions, type FleetReport } from './fleet.js'
import { EQUAL_CANDIDATES, kindOf, type KindSpec, type SimulatedRequest, Workload } from './jobs.js'
import { JumpingReplica } from './jumping-replica.js'
import { type Recording, stepSeconds, type Timing } from './recording.js'
import { percent, short, totals } from './report.js'
import { meanSteps, fullRate, type Profiles, profilesOfKinds } from './simulation.js'
import { Distribution } from './statistics.js'
import { type ServedModel, SteppedReplica } from './stepped-replica.js'

export interface CheckOptions {
  models: string
  replicas: readonly number[]
  /** Of arrivals, for each run. */
  seconds: number
  /** Shares of what the servers can do. */
  loads: readonly number[]
  slots: number
  clients: number
  seed: number
}

const mixedBudgets: readonly KindSpec[] = [
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

/** Shorter and longer answers. */
const otherBudgets: readonly KindSpec[] = [
  { name: 'easy', share: 40, levels: { easy: 1 }, reasoning_effort: 'medium' },
  {
    name: 'at most 256',
    share: 50,
    levels: { hard: 0.7, hardest: 0.3 },
    reasoning_effort: 'xhigh',
    refinement: { max_steps: 256 },
  },
  {
    name: 'at most 2,048',
    share: 10,
    levels: { hardest: 1 },
    reasoning_effort: 'xhigh',
    refinement: { max_steps: 2048 },
  },
]
const OTHER_LOAD = 0.6

/** A real client runs on another machine. Here its low priority leaves the cores to the servers. */
const CLIENT_NICENESS = 10
/** Requests of a run in which all come at once. */
const BACKLOG = 80
const CALIBRATION_STEPS = 192
const CALIBRATION_REPEATS = 3
/** Of each search by which it is measured what moves cost. */
const SEARCH_STEPS = 512
/** Of the requests by which a slowdown is measured, and how often a simulation is fitted to them. */
const CALIBRATION_SEED = 1_000_003
const FITS = 2
/** An energy that no answer reaches: with it as its target, a search takes each step in a call, and all that it may. */
const UNREACHABLE = -1

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

/** Boards by number. Those with few givens, which take most of the steps: what is given need not be computed. */
type Templates = (i: number) => string

function templatesOf({ boards }: Recording): Templates {
  const known = boards.filter(({ level }) => level !== 'easy').map(({ template }) => template)
  return (i) => known[i % known.length] ?? ''
}

const repeated = async (load: () => Promise<unknown>): Promise<number> => {
  await load()
  let seconds = 0
  for (let i = 0; i < CALIBRATION_REPEATS; i++) seconds += await timed(load)
  return seconds / CALIBRATION_REPEATS
}

/** Seconds of a step of `rows` rows. */
async function stepOf({ url }: Started, templates: Templates, rows: number): Promise<number> {
  const refinement = { max_steps: CALIBRATION_STEPS, energy_target: UNREACHABLE }
  const all = () =>
    Promise.all(
      Array.from({ length: rows }, (_, i) =>
        post(url, 0, { template: templates(i), seed: 1, refinement }),
      ),
    )
  return (await repeated(all)) / CALIBRATION_STEPS
}

/**
 * Seconds of a step of one candidate where all slots are taken by searches that have half of the slots that they
 * want, so that each step moves a candidate in and another one out.
 */
async function turnOf(
  { url }: Started,
  templates: Templates,
  { slots }: CheckOptions,
): Promise<number> {
  const refinement = { max_steps: SEARCH_STEPS, energy_target: UNREACHABLE }
  const body = { seed: 1, reasoning_effort: 'xhigh', refinement }
  const searches = (2 * slots) / EQUAL_CANDIDATES
  const all = () =>
    Promise.all(
      Array.from({ length: searches }, (_, i) => post(url, i, { ...body, template: templates(i) })),
    )
  return (await repeated(all)) / (searches * SEARCH_STEPS)
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
  /** By the number of servers that compute at once, from 1 on: how many times longer their calls take. */
  slowdowns: readonly number[]
}

/** The calls of one engine that has its cores to itself. */
async function timingOf(
  server: Started,
  templates: Templates,
  options: CheckOptions,
): Promise<Timing> {
  const { slots } = options
  const step: { rows: number; seconds: number }[] = []
  for (const rows of [1, 2, 4, 8, 16, 32, 64].filter((each) => each <= slots))
    step.push({ rows, seconds: await stepOf(server, templates, rows) })
  const moved = (await turnOf(server, templates, options)) - stepSeconds({ step }, slots) / slots
  const answer = await answerOf(server, templates(0))
  return { step, move: Math.max(0, moved) / 2, answer }
}

interface Found {
  answers: number
  seconds: number
  steps: number
  queue: number
  latency: Distribution
  /** Seconds of the calls of all engines. */
  busy: number
}

const clientOf = ({ client }: SimulatedRequest): number => Number(client.replace('client ', ''))

/** Sends the requests at their times, in turns to the servers. */
async function real(
  served: ServedModel,
  servers: readonly Started[],
  jobs: readonly SimulatedRequest[],
): Promise<Found> {
  const snapshot = async () => {
    const all = await Promise.all(servers.map(({ url }) => readMetrics(url)))
    const sum = (name: string) => all.reduce((total, read) => total + read(name), 0)
    const name = 'basin_queue_duration_seconds'
    const busy = sum('basin_engine_seconds_total')
    return { sum: sum(`${name}_sum`), count: sum(`${name}_count`), busy }
  }
  const before = await snapshot()
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
  const after = await snapshot()
  const queue = (after.sum - before.sum) / (after.count - before.count)
  const busy = after.busy - before.busy
  return { answers: jobs.length, seconds: last, steps, queue, latency, busy }
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
  const others = { computing: () => 0 }
  // Asked by a server whose next step is to begin, when it counts as one that does not compute.
  const slowdown = () => slowdowns[Math.min(others.computing(), slowdowns.length - 1)] ?? 1
  const fleet = new Fleet(options, () => make(timing, slowdown))
  others.computing = () => fleet.stepping
  const report: FleetReport = await fleet.run(endingOf(jobs.map((job) => ({ ...job }))))
  const { finished, steps } = totals(report)
  const { latency, queue, seconds, work } = report
  return { answers: finished, seconds, steps, queue: queue.mean, latency, busy: work.busy }
}

function* endingOf(jobs: readonly SimulatedRequest[]): Generator<SimulatedRequest, undefined> {
  yield* jobs
  return undefined
}

type Mix = readonly KindSpec[]

const difference = (found: number, truth: number): string =>
  `${found >= truth ? '+' : ''}${percent(found - truth, truth)}`

/** Requests a second that so many servers can answer where each step of a candidate moves it in and another one out. */
function capacityOf(
  { model, recording }: ServedModel,
  mix: Mix,
  profiles: Profiles,
  count: number,
  { slots }: CheckOptions,
  { slowdowns, timing }: Calibration,
): number {
  const timed = { ...recording, timing }
  const kinds = mix.map((spec) => kindOf(model, spec))
  const steps = meanSteps(timed, kinds, profiles, slots)
  const each = 1 / fullRate(timed, slots) + 2 * timing.move
  return count / ((slowdowns[count - 1] ?? 1) * steps * each)
}

const figures: Readonly<Record<string, (found: Found) => number>> = {
  'answers a second': ({ answers, seconds }) => answers / seconds,
  'mean queue, s': ({ queue }) => queue,
  'mean latency, s': ({ latency }) => latency.mean,
  'ms of engines for a step': ({ busy, steps }) => (1000 * busy) / steps,
}

class Check {
  private calibration: Calibration | undefined

  constructor(
    private readonly served: ServedModel,
    private readonly options: CheckOptions,
    private readonly servers: readonly Started[],
    private readonly profiles: Profiles,
  ) {}

  async run(): Promise<void> {
    const { loads, replicas } = this.options
    const heads = Object.keys(figures).map((name) => `${name}: real, \`steps\`, \`jumps\``)
    console.log(`\n| servers | requests | ${heads.join(' | ')} |`)
    console.log(`|---|---|${heads.map(() => '---|').join('')}`)
    for (const count of replicas) {
      await this.calibrate(count)
      await this.compare(count, 'at once', this.backlog())
      for (const load of loads)
        await this.compare(count, `at load ${load}`, this.stream(count, mixedBudgets, load))
      const others = this.stream(count, otherBudgets, OTHER_LOAD)
      await this.compare(count, `of other budgets, at load ${OTHER_LOAD}`, others)
    }
  }

  /** How long calls take, of one server and of up to so many at once, as far as it is not known yet. */
  private async calibrate(count: number): Promise<void> {
    const { options, served, servers } = this
    const [first] = servers
    if (!first) throw new RangeError('there is no server')
    const templates = templatesOf(served.recording)
    this.calibration ??= { timing: await timingOf(first, templates, options), slowdowns: [] }
    const cores = availableParallelism()
    for (let busy = this.known().slowdowns.length + 1; busy <= count; busy++) {
      const { slowdowns, timing } = this.known()
      const before = slowdowns.at(-1) ?? 1
      const proportional = busy <= cores ? before : (before * busy) / (busy - 1)
      this.calibration = { timing, slowdowns: [...slowdowns, proportional] }
      if (busy <= cores) await this.fit(busy)
    }
    const { slowdowns, timing } = this.known()
    console.error(
      `seconds of a step: ${timing.step.map(({ rows, seconds }) => `${rows} rows ${short(seconds)}`).join(', ')}, of a move ${short(timing.move)}; ` +
        `with 1, 2, ... servers at once ${slowdowns.map(short).join(', ')} times as long`,
    )
  }

  /** Takes the slowdown of so many servers from a real run. */
  private async fit(count: number): Promise<void> {
    const jobs = this.backlog(CALIBRATION_SEED)
    const truth = await real(this.served, this.servers.slice(0, count), jobs)
    for (let round = 0; round < FITS; round++) {
      const { seconds } = await this.bySteps(count, jobs)
      const { slowdowns, timing } = this.known()
      const fitted = ((slowdowns[count - 1] ?? 1) * truth.seconds) / seconds
      this.calibration = { timing, slowdowns: slowdowns.with(count - 1, fitted) }
    }
  }

  private async compare(
    count: number,
    name: string,
    jobs: readonly SimulatedRequest[],
  ): Promise<void> {
    const truth = await real(this.served, this.servers.slice(0, count), jobs)
    const simulations = [await this.bySteps(count, jobs), await this.byJumps(count, jobs)]
    for (const { steps } of simulations)
      if (steps !== truth.steps) console.error(`${name}: ${truth.steps} steps, simulated ${steps}`)
    const cells = Object.values(figures).map((of) => {
      const found = simulations.map(of)
      const differences = found.map((each) => difference(each, of(truth)))
      return `${[of(truth), ...found].map(short).join(' / ')} (${differences.join(', ')})`
    })
    console.log(`| ${[count, `${jobs.length} ${name}`, ...cells].join(' | ')} |`)
  }

  private bySteps(count: number, jobs: readonly SimulatedRequest[]): Promise<Found> {
    const { options, served } = this
    return simulated(count, options, this.known(), jobs, (timing, slowdown) => {
      const timed = { ...served, recording: { ...served.recording, timing } }
      return new SteppedReplica(timed, replicaOf(options), slowdown)
    })
  }

  private byJumps(count: number, jobs: readonly SimulatedRequest[]): Promise<Found> {
    const { options, profiles } = this
    return simulated(
      count,
      options,
      this.known(),
      jobs,
      (timing, slowdown) => new JumpingReplica(timing, profiles, replicaOf(options), slowdown),
    )
  }

  private known(): Calibration {
    if (!this.calibration) throw new RangeError('nothing was measured')
    return this.calibration
  }

  private workload(mix: Mix, seed: number): Workload {
    const { model, recording } = this.served
    const kinds = mix.map((spec) => kindOf(model, spec))
    return new Workload(kinds, recording.boards, this.options.clients, seed)
  }

  private backlog(seed = this.options.seed): SimulatedRequest[] {
    const workload = this.workload(mixedBudgets, seed)
    return Array.from({ length: BACKLOG }, () => workload.next(0))
  }

  private stream(count: number, mix: Mix, load: number): SimulatedRequest[] {
    const { seconds, seed } = this.options
    const most = capacityOf(this.served, mix, this.profiles, count, this.options, this.known())
    const workload = this.workload(mix, seed)
    const jobs: SimulatedRequest[] = []
    const arrivals = { trace: 'poisson' as const, rate: load * most, period: seconds, seed }
    for (const time of arrivalTimes(arrivals)) {
      if (time >= seconds) break
      jobs.push(workload.next(time))
    }
    return jobs
  }
}

/** No checkpoints are made of requests that their clients wait for. */
const replicaOf = ({ slots }: CheckOptions) => ({ slots, checkpointSeconds: 0 })

export async function check(served: ServedModel, options: CheckOptions): Promise<void> {
  setPriority(CLIENT_NICENESS)
  const flags = {
    models: options.models,
    model: served.model.name,
    threads: '1',
    slots: String(options.slots),
    'max-queue': '100000',
    'log-level': 'warn',
  }
  const most = Math.max(...options.replicas)
  const servers = await Promise.all(Array.from({ length: most }, () => startServer(flags)))
  const profiles = await profilesOfKinds(served, [...mixedBudgets, ...otherBudgets])
  await new Check(served, options, servers, profiles).run()
  for (const agent of agents.values()) agent.destroy()
  for (const { stop } of servers) stop()
}

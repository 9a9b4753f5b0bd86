/** Fleets of which queueing theory knows the answer: their answers take what the test says they do. */
import { arrivalTimes, type Trace } from '../../bench/simulation/arrivals.js'
import { Fleet, type FleetOptions, type FleetReport } from '../../bench/simulation/fleet.js'
import { type SimulatedRequest, type Kind, newJob } from '../../bench/simulation/jobs.js'
import type { Profile } from '../../bench/simulation/profiles.js'
import type { Timing } from '../../bench/simulation/recording.js'
import type { Replica } from '../../bench/simulation/replica.js'
import { Draws } from '../../src/train/tasks/draws.js'
import { budget } from '../support/engine-bench.js'

export const plainKind: Kind = {
  name: 'plain',
  share: 1,
  levels: {},
  budget: budget({ maxSteps: 64 }),
}

/** A step takes the same time whatever the number of rows. */
export const constantTiming = (seconds: number): Timing => ({
  step: [{ rows: 1, seconds }],
  move: 0,
  answer: 0,
})

/** A step takes so many seconds for each row. */
export const linearTiming = (seconds: number): Timing => ({
  step: [
    { rows: 1, seconds },
    { rows: 2, seconds: 2 * seconds },
  ],
  move: 0,
  answer: 0,
})

/** By board: answers of one candidate whose steps are the quantiles of an exponential distribution. */
export const exponentialProfiles = (mean: number, count: number): Profile[] =>
  Array.from({ length: count }, (_, i) => {
    const steps = Math.max(1, Math.round(-mean * Math.log(1 - (i + 0.5) / count)))
    return { phases: [{ width: 1, steps }], right: true }
  })

/** Where one replica serves all, nothing fails and nothing is refused. */
export const plainOptions: FleetOptions = {
  replicas: 1,
  seed: 1,
  dispatch: 'round-robin',
  maxQueue: Infinity,
  slots: 1,
  backgroundPlaces: 1,
  failureSeconds: Infinity,
  noticeSeconds: 0,
  startSeconds: 0,
  drainSeconds: 0,
}

export interface Load {
  rate: number
  count: number
  seed: number
  trace?: Trace
  kind?: Kind
  /** Boards to draw from. */
  boards: number
  clients?: number
}

export function* jobsOf(load: Load): Generator<SimulatedRequest, undefined> {
  const { boards, clients = 1, count, kind = plainKind, rate, seed, trace = 'poisson' } = load
  const draws = new Draws(seed, 99)
  let made = 0
  for (const time of arrivalTimes({ trace, rate, period: 600, seed })) {
    if (made === count) return undefined
    yield newJob(made++, kind, `client ${draws.below(clients)}`, draws.below(boards), time)
  }
}

export const serve = (
  load: Load,
  options: FleetOptions,
  newReplica: () => Replica,
): Promise<FleetReport> => new Fleet(options, newReplica).run(jobsOf(load))

/** Probability that a request of M/M/c waits (Erlang C). `load`: arrivals times mean service, in servers. */
export function erlangC(servers: number, load: number): number {
  let term = 1
  let sum = 1
  for (let k = 1; k < servers; k++) {
    term *= load / k
    sum += term
  }
  const last = ((term * load) / servers) * (servers / (servers - load))
  return last / (sum + last)
}

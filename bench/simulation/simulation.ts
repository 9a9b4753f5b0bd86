/** One simulation: requests as they come, a fleet, and what became of them. */
import { type Arrivals, arrivalTimes } from './arrivals.js'
import { FlowingReplica } from './flowing-replica.js'
import { Fleet, type FleetOptions, type FleetReport } from './fleet.js'
import { type SimulatedRequest, type Kind, kindOf, type KindSpec, Workload } from './jobs.js'
import { JumpingReplica } from './jumping-replica.js'
import { type Profile, profilesOf } from './profiles.js'
import { type Level, levels, type Recording, stepSeconds } from './recording.js'
import { type ServedModel, SteppedReplica } from './stepped-replica.js'

export const modes = ['steps', 'jumps', 'flows'] as const

/**
 * `steps`: every step of every replica is taken. `jumps`: those in which nothing changes are jumped over. `flows`:
 * answers progress at rates.
 */
export type Mode = (typeof modes)[number]

export interface SimulationOptions extends FleetOptions {
  mode: Mode
  kinds: readonly KindSpec[]
  arrivals: Arrivals
  /** Of arrivals; the simulation ends when the last answer has. */
  seconds: number
  clients: number
  /** `--checkpoint-seconds` of each replica. */
  checkpointSeconds: number
}

export type Profiles = ReadonlyMap<string, readonly Profile[]>

export async function profilesOfKinds(
  served: ServedModel,
  kinds: readonly KindSpec[],
): Promise<Profiles> {
  const profiles = new Map<string, readonly Profile[]>()
  for (const spec of kinds)
    profiles.set(spec.name, await profilesOf(served, kindOf(served.model, spec)))
  return profiles
}

export async function simulate(
  served: ServedModel,
  options: SimulationOptions,
  profiles: Profiles,
): Promise<FleetReport> {
  const { checkpointSeconds, mode, slots } = options
  const replica = { slots, checkpointSeconds }
  const { timing } = served.recording
  const newReplica = {
    steps: () => new SteppedReplica(served, replica),
    jumps: () => new JumpingReplica(timing, profiles, replica),
    flows: () => new FlowingReplica(timing, profiles, replica),
  }[mode]
  return new Fleet(options, newReplica).run(jobsOf(served, options))
}

function* jobsOf(
  { model, recording }: ServedModel,
  { arrivals, clients, kinds, seconds }: SimulationOptions,
): Generator<SimulatedRequest, undefined> {
  const known = kinds.map((spec) => kindOf(model, spec))
  const workload = new Workload(known, recording.boards, clients, arrivals.seed)
  for (const time of arrivalTimes(arrivals)) {
    if (time >= seconds) return undefined
    yield workload.next(time)
  }
}

/** Steps of single candidates that a replica takes in a second where all of its slots are filled. */
export const fullRate = ({ timing }: Recording, slots: number): number =>
  slots / stepSeconds(timing, slots)

/**
 * The mean steps of a request, its share of a replica's work. An answer that only time ends counts as taking its
 * share of a full replica for that time.
 */
export function meanSteps(
  recording: Recording,
  kinds: readonly Kind[],
  profiles: Profiles,
  slots: number,
): number {
  const perRow = 1 / stepSeconds(recording.timing, slots)
  const all = kinds.reduce((sum, { share }) => sum + share, 0)
  const stepsOf = ({ phases }: Profile, { budget }: Kind): number => {
    const steps = phases.reduce((sum, phase) => sum + phase.steps, 0)
    return Math.min(steps, (budget.maxSeconds ?? Infinity) * budget.candidates * perRow)
  }
  const mean = (kind: Kind, level: Level): number => {
    const share = kind.levels[level] ?? 0
    const known = (profiles.get(kind.name) ?? []).filter(
      (_, board) => recording.boards[board]?.level === level,
    )
    if (share === 0) return 0
    if (known.length === 0) throw new RangeError(`no board was recorded that is ${level}`)
    const sum = known.reduce((steps, profile) => steps + stepsOf(profile, kind), 0)
    return (share * sum) / known.length
  }
  const meanOf = (kind: Kind) => levels.reduce((sum, level) => sum + mean(kind, level), 0)
  return kinds.reduce((sum, kind) => sum + (kind.share / all) * meanOf(kind), 0)
}

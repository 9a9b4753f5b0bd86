/**
 * What a fleet carries, at 1 to 10,000 replicas: where latency breaks, who waits, what failures cost, what equal
 * budgets cost beside searches that end when they have found the answer, and what an autoscaler makes of a day.
 */
import type { Trace } from './arrivals.js'
import type { ScalingRule } from './autoscaler.js'
import type { FleetReport } from './fleet.js'
import { kindOf, type KindSpec, mixedKinds } from './jobs.js'
import type { Level } from './recording.js'
import { percent, quantiles, short, totals, utilisation } from './report.js'
import {
  fullRate,
  meanSteps,
  type Mode,
  profilesOfKinds,
  simulate,
  type SimulationOptions,
} from './simulation.js'
import type { ServedModel } from './stepped-replica.js'

export const parts = ['load', 'clients', 'failures', 'budgets', 'day'] as const
export type Part = (typeof parts)[number]

export interface StudyOptions {
  parts: readonly Part[]
  replicas: readonly number[]
  loads: readonly number[]
  seed: number
  rule: ScalingRule
}

const SLOTS = 64
/** Replicas of the parts that do not vary them. */
const MANY = 100
const FEW = 4
/** Clients for each replica, so that few ask twice at a time. */
const CLIENTS_EACH = 100
const REPLICA_SECONDS = 240_000
const HOUR = 3600

/** More virtual time where there are few replicas, so that rare answers come often enough. */
const secondsFor = (replicas: number): number =>
  Math.min(HOUR, Math.max(60, REPLICA_SECONDS / replicas))

interface Run {
  replicas: number
  load: number
  mode?: Mode
  kinds?: readonly KindSpec[]
  seconds?: number
  clients?: number
  trace?: Trace
  more?: Partial<SimulationOptions>
}

const table = (head: readonly string[]): void => {
  console.log(`\n| ${head.join(' | ')} |\n|${head.map(() => '---').join('|')}|`)
}
const row = (cells: readonly (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)

class Study {
  constructor(
    private readonly served: ServedModel,
    private readonly options: StudyOptions,
  ) {}

  async run({
    clients,
    kinds = mixedKinds,
    load,
    mode = 'flows',
    more,
    replicas,
    seconds,
    trace,
  }: Run) {
    const { model, recording } = this.served
    const { seed } = this.options
    const profiles = await profilesOfKinds(this.served, kinds)
    const known = kinds.map((spec) => kindOf(model, spec))
    const steps = meanSteps(recording, known, profiles, SLOTS)
    const rate = (load * replicas * fullRate(recording, SLOTS)) / steps
    const lasting = seconds ?? secondsFor(replicas)
    const began = performance.now()
    const report = await simulate(
      this.served,
      {
        mode,
        kinds,
        replicas,
        seed,
        slots: SLOTS,
        dispatch: 'two-choices',
        maxQueue: 256,
        backgroundPlaces: 16,
        failureSeconds: Infinity,
        noticeSeconds: 30,
        startSeconds: 20,
        drainSeconds: 30,
        checkpointSeconds: 5,
        clients: clients ?? CLIENTS_EACH * replicas,
        seconds: lasting,
        arrivals: { trace: trace ?? 'poisson', rate, period: lasting, seed },
        ...more,
      },
      profiles,
    )
    return { report, took: (performance.now() - began) / 1000, seconds: lasting }
  }

  async load(): Promise<void> {
    table([
      'replicas',
      'load',
      'requests',
      'answers a second',
      'engines busy',
      'slots in use',
      'queue, s',
      'latency, s',
      'p99 of `medium`, s',
      'refused',
      'virtual s / s',
    ])
    for (const replicas of this.options.replicas)
      for (const load of this.options.loads) {
        const { report, seconds, took } = await this.run({ replicas, load })
        const { arrived, finished, refused } = totals(report)
        const { replicaSeconds, work } = report
        row([
          replicas,
          load,
          arrived,
          short(finished / report.seconds),
          percent(work.busy, replicaSeconds),
          percent(work.slotSeconds, SLOTS * replicaSeconds),
          quantiles(report.queue),
          quantiles(report.latency),
          short(report.kinds.get('medium')?.latency.quantile(0.99) ?? 0),
          percent(refused, arrived),
          `${short(seconds)} / ${short(took)}`,
        ])
      }
  }

  /** One replica, whose clients share its slots. */
  async clients(): Promise<void> {
    table(['clients', 'mode', 'load', 'queue, s', 'latency, s', 'p99 of `medium`, s', 'refused'])
    for (const clients of [1, 4, 16, 64, 1000])
      for (const mode of ['jumps', 'flows'] as const) {
        const load = 0.85
        const { report } = await this.run({ replicas: 1, load, mode, clients, seconds: HOUR })
        const { arrived, refused } = totals(report)
        const medium = report.kinds.get('medium')?.latency.quantile(0.99) ?? 0
        const figures = [quantiles(report.queue), quantiles(report.latency), short(medium)]
        row([clients, mode, load, ...figures, percent(refused, arrived)])
      }
  }

  async failures(): Promise<void> {
    table([
      'killed every',
      'checkpoints every',
      'failures',
      'lost answers',
      'of those waited for',
      'steps lost',
      'background requests that moved',
      'p99 of `deep`, s',
      'replica seconds for each right',
    ])
    for (const hours of [Infinity, 24, 1, 0.1])
      for (const checkpointSeconds of hours === Infinity ? [5] : [0, 5, 60]) {
        const failing = { failureSeconds: hours * HOUR, checkpointSeconds }
        const { report } = await this.run({
          replicas: MANY,
          load: 0.7,
          seconds: HOUR,
          more: failing,
        })
        const { arrived, lost, right } = totals(report)
        const waitedFor = [...report.kinds].filter(([name]) => !isInBackground(name))
        const asked = waitedFor.reduce((sum, [, kind]) => sum + kind.arrived, 0)
        row([
          hours === Infinity ? 'never' : `${hours} h`,
          checkpointSeconds === 0 ? 'never' : `${checkpointSeconds} s`,
          report.failures,
          `${lost} of ${arrived}`,
          percent(lost, asked, 3),
          percent(report.lostSteps, report.work.steps, 3),
          report.moved,
          short(report.kinds.get('deep')?.latency.quantile(0.99) ?? 0),
          short(report.replicaSeconds / right),
        ])
      }
  }

  async budgets(): Promise<void> {
    table([
      'boards',
      'answers',
      'right',
      'steps of an answer',
      'steps for each right',
      'replica seconds for each right',
      'latency, s',
    ])
    const mixes: [string, Partial<Record<Level, number>>][] = [
      ['easy and hard, 3 to 1', { easy: 0.75, hard: 0.25 }],
      ['hardest', { hardest: 1 }],
      ['easy, hard and hardest, 2 to 1 to 1', { easy: 0.5, hard: 0.25, hardest: 0.25 }],
    ]
    for (const [boards, levels] of mixes) {
      const equal = this.served.recording.boards[0]?.equal.map(({ steps }) => steps) ?? []
      const asked: KindSpec[] = [
        ...equal.map((steps) => ({ name: `${steps} steps each`, share: 1, levels, equal: steps })),
        ...[64, 512, 4096].map((most) => ({
          name: `until the target, at most ${most}`,
          share: 1,
          levels,
          reasoning_effort: 'xhigh' as const,
          refinement: { max_steps: most },
        })),
      ]
      for (const kind of asked) {
        const { report } = await this.run({
          replicas: FEW,
          load: 0.7,
          seconds: 120,
          kinds: [kind],
        })
        const { finished, right, steps } = totals(report)
        row([
          boards,
          kind.name,
          percent(right, finished),
          short(steps / finished),
          short(steps / right),
          short(report.replicaSeconds / right),
          quantiles(report.latency),
        ])
      }
    }
  }

  /** A day of two hours, for fleets of a fixed size and for one that scales by the rule of the manifest. */
  async day(): Promise<void> {
    const { rule } = this.options
    const mean = 40
    const load = 0.85
    table([
      'replicas',
      'engines busy',
      'replica hours',
      'queue, s',
      'latency, s',
      'refused',
      'lost',
    ])
    const runs: [string, number, Partial<SimulationOptions>][] = [
      [`${2 * mean}, fixed`, 2 * mean, {}],
      [`${mean}, fixed`, mean, {}],
      ['by the rule of the manifest', mean, { scaling: { ...rule, most: 4 * mean } }],
      ['the same, one waits for each', mean, { scaling: { ...rule, target: 1, most: 4 * mean } }],
    ]
    for (const [name, replicas, more] of runs) {
      const { report } = await this.run({
        replicas,
        load: (load * mean) / replicas,
        seconds: 2 * HOUR,
        trace: 'diurnal',
        more,
      })
      this.dayRow(name, report)
    }
  }

  private dayRow(name: string, report: FleetReport): void {
    const { arrived, lost, refused } = totals(report)
    const { latency, mostReplicas, queue, replicaSeconds } = report
    row([
      `${name}; at most ${mostReplicas}`,
      percent(utilisation(report), 1),
      short(replicaSeconds / HOUR),
      quantiles(queue),
      quantiles(latency),
      percent(refused, arrived),
      percent(lost, arrived),
    ])
  }
}

const isInBackground = (name: string): boolean =>
  mixedKinds.some((kind) => kind.name === name && kind.background === true)

export async function study(served: ServedModel, options: StudyOptions): Promise<void> {
  const made = new Study(served, options)
  for (const part of options.parts) await made[part]()
}

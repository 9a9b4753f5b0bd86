import { beforeAll, describe, expect, it } from 'vitest'
import { FlowingReplica } from '../../bench/simulation/flowing-replica.js'
import { type FleetOptions, type FleetReport } from '../../bench/simulation/fleet.js'
import type { Kind } from '../../bench/simulation/jobs.js'
import { JumpingReplica } from '../../bench/simulation/jumping-replica.js'
import type { Profile } from '../../bench/simulation/profiles.js'
import type { Replica } from '../../bench/simulation/replica.js'
import { totals, utilisation } from '../../bench/simulation/report.js'
import { exponentialProfiles, linearTiming, plainKind, plainOptions, serve } from './loads.js'

const SLOTS = 16
const STEP_S = 0.001
const BOARDS = 500
const MEAN_STEPS = 400
const REQUESTS = 2500

const waitedFor = plainKind
const inBackground: Kind = { ...plainKind, background: true }

const options: FleetOptions = {
  ...plainOptions,
  replicas: 6,
  slots: SLOTS,
  dispatch: 'two-choices',
  maxQueue: 8,
  backgroundPlaces: 24,
  noticeSeconds: 2,
  startSeconds: 3,
  drainSeconds: 1,
}

const profiles: ReadonlyMap<string, readonly Profile[]> = new Map([
  [plainKind.name, exponentialProfiles(MEAN_STEPS, BOARDS)],
])

const replicas: Record<string, (checkpointSeconds: number) => () => Replica> = {
  jumping: (checkpointSeconds) => () =>
    new JumpingReplica(linearTiming(STEP_S), profiles, { slots: SLOTS, checkpointSeconds }),
  flowing: (checkpointSeconds) => () =>
    new FlowingReplica(linearTiming(STEP_S), profiles, { slots: SLOTS, checkpointSeconds }),
}

/** At `load` of what the replicas can do. */
const run = (
  name: string,
  kind: Kind,
  load: number,
  more: Partial<FleetOptions> = {},
  checkpointSeconds = 0.2,
): Promise<FleetReport> => {
  const rate = (load * options.replicas) / (MEAN_STEPS * STEP_S)
  const asked = { rate, count: REQUESTS, seed: 11, boards: BOARDS, clients: 40, kind }
  const newReplica = replicas[name]?.(checkpointSeconds)
  if (!newReplica) throw new RangeError(name)
  return serve(asked, { ...options, ...more }, newReplica)
}

const figuresOf = (report: FleetReport) =>
  JSON.stringify([...report.kinds.values(), report.work, report.replicaSeconds, report.lostSteps])

describe.each(['jumping', 'flowing'])('a fleet of %s replicas', (name) => {
  it('gives the same figures for the same seed', async () => {
    const harsh = { failureSeconds: 20 }
    const [a, b] = [await run(name, waitedFor, 0.8, harsh), await run(name, waitedFor, 0.8, harsh)]
    expect(figuresOf(a)).toBe(figuresOf(b))
    expect(figuresOf(await run(name, waitedFor, 0.8, { ...harsh, seed: 2 }))).not.toBe(figuresOf(a))
  })

  it.each([0.5, 0.95, 3])('ends every request once, at load %f', async (load) => {
    for (const kind of [waitedFor, inBackground]) {
      const report = await run(name, kind, load, { failureSeconds: 30 })
      const { arrived, finished, lost, refused } = totals(report)
      expect(arrived).toBe(REQUESTS)
      expect(finished + lost + refused).toBe(arrived)
      expect(report.failures).toBeGreaterThan(0)
      if (kind.background) expect({ lost, refused }).toEqual({ lost: 0, refused: 0 })
      else expect(lost).toBeGreaterThan(0)
      expect(utilisation(report)).toBeLessThanOrEqual(1)
      expect(report.work.slotSeconds).toBeLessThanOrEqual(SLOTS * report.replicaSeconds)
    }
  })

  it('computes what its answers take, and no more, where nothing fails', async () => {
    const report = await run(name, waitedFor, 0.8)
    const { finished, steps } = totals(report)
    expect(finished).toBe(REQUESTS)
    expect(Math.abs(report.work.steps / steps - 1)).toBeLessThan(0.01)
    expect(report.lostSteps).toBe(0)
    // Each step takes its time for each row.
    expect(Math.abs(report.work.busy / (report.work.steps * STEP_S) - 1)).toBeLessThan(0.01)
  })

  it('loses fewer steps the more often background requests are saved', async () => {
    const lost: number[] = []
    for (const seconds of [0, 2, 0.2]) {
      const report = await run(name, inBackground, 0.7, { failureSeconds: 20 }, seconds)
      expect(report.moved).toBeGreaterThan(20)
      lost.push(report.lostSteps / report.moved)
    }
    const [none = 0, few = 0, many = 0] = lost
    expect(many).toBeLessThan(few)
    expect(few).toBeLessThan(none)
    expect(none).toBeGreaterThan(2 * many)
  })

  it('refuses what is beyond the queues, and only then', async () => {
    expect(totals(await run(name, waitedFor, 0.5)).refused).toBe(0)
    expect(totals(await run(name, waitedFor, 3)).refused).toBeGreaterThan(500)
  })
})

describe('requests in the background', () => {
  it('are taken by priority, and in turns of their clients', async () => {
    const load = { rate: 1e6, count: 60, seed: 1, boards: 1, clients: 3, kind: inBackground }
    const profile = { phases: [{ width: 1, steps: 100 }], right: true }
    const report = await serve(
      load,
      { ...options, replicas: 1, backgroundPlaces: 1 },
      () =>
        new JumpingReplica(linearTiming(STEP_S), new Map([[plainKind.name, [profile]]]), {
          slots: SLOTS,
          checkpointSeconds: 0,
        }),
    )
    // One after the other, each for 100 steps.
    expect(report.seconds).toBeCloseTo(6, 1)
    expect(report.queue.mean).toBeCloseTo(2.95, 1)
  })
})

describe('a fleet that scales by the depth of its queues', () => {
  const rule = {
    least: 2,
    most: 40,
    target: 4,
    upAfter: 30,
    downAfter: 60,
    downBy: 1,
    downEvery: 15,
  }
  let reports: { fixed: FleetReport; scaled: FleetReport }
  beforeAll(async () => {
    const load = { rate: 12, count: 10_000, seed: 2, boards: BOARDS, kind: waitedFor }
    const asked = { ...load, trace: 'diurnal' as const }
    const few = { ...options, replicas: 2, maxQueue: Infinity }
    const newReplica = replicas['jumping']?.(0) as () => Replica
    reports = {
      fixed: await serve(asked, few, newReplica),
      scaled: await serve(asked, { ...few, scaling: rule }, newReplica),
    }
  })

  it('adds replicas while requests wait, and removes them afterwards', () => {
    const { fixed, scaled } = reports
    expect(scaled.mostReplicas).toBeGreaterThan(4)
    expect(scaled.queue.mean).toBeLessThan(fixed.queue.mean / 4)
    expect(scaled.replicaSeconds).toBeLessThan(0.8 * scaled.mostReplicas * scaled.seconds)
  })

  it('ends every request once', () => {
    const { arrived, finished, lost } = totals(reports.scaled)
    expect(finished + lost).toBe(arrived)
  })
})

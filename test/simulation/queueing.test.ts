/** Where queueing theory is exact, the simulation agrees with it. */
import { describe, expect, it } from 'vitest'
import { FlowingReplica } from '../../bench/simulation/flowing-replica.js'
import { JumpingReplica } from '../../bench/simulation/jumping-replica.js'
import type { Profile } from '../../bench/simulation/profiles.js'
import {
  constantTiming,
  erlangC,
  exponentialProfiles,
  linearTiming,
  plainKind,
  plainOptions,
  serve,
} from './loads.js'

const STEP_S = 0.001
const BOARDS = 2000
const named = (profiles: Profile[]) => new Map([[plainKind.name, profiles]])
const within = (share: number, found: number, theory: number) => {
  expect(Math.abs(found - theory) / theory, `${found} and ${theory}`).toBeLessThan(share)
}

describe('a replica whose scheduler is asked at every change', () => {
  it.each([1, 4])('keeps requests of one client waiting as M/M/%i does', async (slots) => {
    const mean = 200
    const servers = 0.7 * slots
    const rate = servers / (mean * STEP_S)
    const profiles = named(exponentialProfiles(mean, BOARDS))
    const replica = { slots, checkpointSeconds: 0 }
    const report = await serve(
      { rate, count: 40_000, seed: 3, boards: BOARDS },
      { ...plainOptions, slots },
      () => new JumpingReplica(constantTiming(STEP_S), profiles, replica),
    )
    const wait = (erlangC(slots, servers) * mean * STEP_S) / (slots - servers)
    within(0.05, report.queue.mean, wait)
    within(0.05, report.latency.mean, wait + mean * STEP_S)
    // Beyond 0 the wait is exponential, so its 99th percentile is known too.
    const pace = (slots - servers) / (mean * STEP_S)
    within(0.08, report.queue.quantile(0.99), Math.log(erlangC(slots, servers) / 0.01) / pace)
  })

  it('keeps requests waiting as M/D/1 does where all take as many steps', async () => {
    const steps = 100
    const load = 0.8
    const profile = { phases: [{ width: 1, steps }], right: true }
    const report = await serve(
      { rate: load / (steps * STEP_S), count: 40_000, seed: 5, boards: 1 },
      plainOptions,
      () =>
        new JumpingReplica(constantTiming(STEP_S), named([profile]), {
          slots: 1,
          checkpointSeconds: 0,
        }),
    )
    within(0.05, report.queue.mean, (load * steps * STEP_S) / (2 * (1 - load)))
  })
})

describe('a replica whose answers flow', () => {
  it('takes as long as a server that all share equally', async () => {
    const mean = 200
    const load = 0.7
    const slots = 64
    const report = await serve(
      { rate: load / (mean * STEP_S), count: 60_000, seed: 7, boards: BOARDS, clients: 1000 },
      { ...plainOptions, slots },
      () =>
        new FlowingReplica(linearTiming(STEP_S), named(exponentialProfiles(mean, BOARDS)), {
          slots,
          checkpointSeconds: 0,
        }),
    )
    within(0.05, report.latency.mean, (mean * STEP_S) / (1 - load))
  })
})

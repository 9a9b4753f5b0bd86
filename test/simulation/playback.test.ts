/** The recorded searches, played back by the engine core that serves requests, and the modes beside each other. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { arrivalTimes } from '../../bench/simulation/arrivals.js'
import { Fleet, type FleetReport } from '../../bench/simulation/fleet.js'
import {
  type SimulatedRequest,
  kindOf,
  type KindSpec,
  mixedKinds,
  Workload,
} from '../../bench/simulation/jobs.js'
import { profilesOf } from '../../bench/simulation/profiles.js'
import { readRecording, stepSeconds } from '../../bench/simulation/recording.js'
import { totals, utilisation } from '../../bench/simulation/report.js'
import {
  fullRate,
  meanSteps,
  type Mode,
  profilesOfKinds,
  simulate,
  type SimulationOptions,
} from '../../bench/simulation/simulation.js'
import { SteppedReplica } from '../../bench/simulation/stepped-replica.js'
import { readConfig } from '../../src/model/config.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { root } from '../house/source.js'
import { plainOptions } from './loads.js'

const recording = readRecording(join(root, 'bench/simulation/sudoku9.json'))
const directory = join(root, 'models', recording.model)
const served = { recording, model: readConfig(directory), tokenizer: openTokenizer(directory) }
const target = served.model.energy_target ?? NaN

describe('a recorded search', () => {
  const xhigh = kindOf(served.model, {
    name: 'xhigh',
    share: 1,
    levels: {},
    reasoning_effort: 'xhigh',
  })

  it('takes the steps again that it took, and finds what it found', async () => {
    const profiles = await profilesOf(served, xhigh)
    recording.boards.forEach(({ descents }, i) => {
      const profile = profiles[i]
      const recorded = descents.flatMap(({ energies }) => energies.flat()).length
      const steps = profile?.phases.reduce((sum, each) => sum + each.steps, 0)
      expect(steps, `board ${i}`).toBe(recorded)
      // A search ends with a descent below the target, or when its steps are spent.
      const lowest = Math.min(
        ...descents.map(({ energies }) => Math.min(...(energies.at(-1) ?? []))),
      )
      if (lowest <= target) expect(profile?.right).toBe(descents.some(({ right }) => right))
      else expect(steps).toBe(recording.most)
    })
  })

  it('ends early on easy boards and late on the hardest', () => {
    const mean = (level: string) => {
      const known = recording.boards.filter((board) => board.level === level)
      const steps = known.map(({ descents }) => descents.flatMap(({ energies }) => energies.flat()))
      return steps.reduce((sum, { length }) => sum + length, 0) / known.length
    }
    expect(mean('easy')).toBeLessThan(mean('hard'))
    expect(mean('hard')).toBeLessThan(mean('hardest'))
  })
})

describe('the time of a step', () => {
  it('is that of the recording, and linear between', () => {
    const [a, b] = recording.timing.step
    if (!a || !b) throw new RangeError('too few were timed')
    expect(stepSeconds(recording.timing, a.rows)).toBe(a.seconds)
    const middle = (a.rows + b.rows) / 2
    expect(stepSeconds(recording.timing, middle)).toBeCloseTo((a.seconds + b.seconds) / 2, 9)
    expect(stepSeconds(recording.timing, 128)).toBeGreaterThan(stepSeconds(recording.timing, 64))
  })
})

const medium: KindSpec = {
  name: 'medium',
  share: 1,
  levels: { easy: 1 },
  reasoning_effort: 'medium',
}

describe('a replica that takes every step', () => {
  it('keeps requests waiting as M/D/1 does where all take as many steps', async () => {
    const timing = { step: [{ rows: 1, seconds: 0.001 }], move: 0, answer: 0 }
    const own = { ...served, recording: { ...recording, timing } }
    const kind = kindOf(served.model, medium)
    const service = served.model.steps * 0.001
    const load = 0.7
    function* jobs(): Generator<SimulatedRequest, undefined> {
      const workload = new Workload([kind], recording.boards, 1, 3)
      let count = 0
      for (const time of arrivalTimes({
        trace: 'poisson',
        rate: load / service,
        period: 1,
        seed: 3,
      })) {
        if (count++ === 6000) return undefined
        yield workload.next(time)
      }
    }
    const replica = { slots: 1, checkpointSeconds: 0 }
    const fleet = new Fleet(plainOptions, () => new SteppedReplica(own, replica))
    const report = await fleet.run(jobs())
    const theory = (load * service) / (2 * (1 - load))
    expect(Math.abs(report.queue.mean / theory - 1)).toBeLessThan(0.1)
    expect(utilisation(report)).toBeLessThanOrEqual(1)
  })
})

const LOAD = 0.7

const options: Omit<SimulationOptions, 'kinds' | 'mode' | 'arrivals'> = {
  ...plainOptions,
  seconds: 20,
  clients: 500,
  checkpointSeconds: 1,
  replicas: 3,
  slots: 64,
  dispatch: 'two-choices',
  backgroundPlaces: 8,
  noticeSeconds: 2,
  startSeconds: 1,
}

async function run(
  mode: Mode,
  specs: readonly KindSpec[],
  more: Partial<SimulationOptions> = {},
): Promise<FleetReport> {
  const kinds = specs.map((spec) => kindOf(served.model, spec))
  const profiles = await profilesOfKinds(served, specs)
  const steps = meanSteps(recording, kinds, profiles, options.slots)
  const rate = (LOAD * options.replicas * fullRate(recording, options.slots)) / steps
  const arrivals = { trace: 'poisson' as const, rate, period: 60, seed: 6 }
  return simulate(served, { ...options, kinds: specs, ...more, mode, arrivals }, profiles)
}

/** Long answers, half of them in the background. */
const longKinds: readonly KindSpec[] = [
  { name: 'xhigh', share: 1, levels: { hardest: 1 }, reasoning_effort: 'xhigh' },
  {
    name: 'deep',
    share: 1,
    levels: { hard: 0.5, hardest: 0.5 },
    background: true,
    reasoning_effort: 'xhigh',
  },
]
const failing = { failureSeconds: 5 }

describe('the modes of a simulation', () => {
  it('agree on the latency of all kinds together', async () => {
    const steps = await run('steps', mixedKinds)
    const others = [await run('jumps', mixedKinds), await run('flows', mixedKinds)]
    for (const each of others) {
      expect(totals(each).arrived).toBe(totals(steps).arrived)
      expect(Math.abs(each.latency.mean / steps.latency.mean - 1)).toBeLessThan(0.1)
      expect(Math.abs(utilisation(each) / utilisation(steps) - 1)).toBeLessThan(0.05)
      // What is found does not depend on who else runs.
      expect(totals(each).right).toBe(totals(steps).right)
    }
  })

  it('lose and move requests where replicas are killed, and end every other one', async () => {
    for (const mode of ['steps', 'jumps', 'flows'] as const) {
      const report = await run(mode, longKinds, failing)
      const { arrived, finished, lost, refused } = totals(report)
      expect(finished + lost + refused).toBe(arrived)
      expect(report.failures, mode).toBeGreaterThan(2)
      expect(report.moved, mode).toBeGreaterThan(0)
      expect(lost, mode).toBeGreaterThan(0)
      expect(report.kinds.get('deep')?.lost, mode).toBe(0)
      expect(utilisation(report), mode).toBeLessThanOrEqual(1)
    }
  })

  it('goes on from thoughts that were saved: fewer steps are lost than without', async () => {
    const lost = async (checkpointSeconds: number) => {
      const report = await run('steps', longKinds, { ...failing, checkpointSeconds })
      return report.lostSteps
    }
    expect(await lost(0.2)).toBeLessThan(await lost(0))
  })
})

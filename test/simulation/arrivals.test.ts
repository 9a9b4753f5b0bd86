import { describe, expect, it } from 'vitest'
import { arrivalTimes, type Trace, traces } from '../../bench/simulation/arrivals.js'
import { Distribution } from '../../bench/simulation/statistics.js'

const PERIOD = 1000

function timesOf(trace: Trace, rate: number, count: number, seed = 4): number[] {
  const times: number[] = []
  for (const time of arrivalTimes({ trace, rate, period: PERIOD, seed })) {
    if (times.length === count) break
    times.push(time)
  }
  return times
}

describe('arrivals', () => {
  // A thousand bursts have to pass before their mean rate is known to some hundredths.
  const rates: Record<Trace, number> = { poisson: 20, diurnal: 20, bursts: 0.5 }

  it.each(traces)('of %s come in order, at the mean rate, as the seed says', (trace) => {
    const asked = rates[trace]
    const times = timesOf(trace, asked, 100_000)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    const rate = times.length / (times.at(-1) as number)
    expect(Math.abs(rate / asked - 1)).toBeLessThan(0.06)
    expect(timesOf(trace, asked, 1000)).toEqual(times.slice(0, 1000))
    expect(timesOf(trace, asked, 10, 5)).not.toEqual(times.slice(0, 10))
  })

  it('of poisson are as far apart as exponential times', () => {
    const times = timesOf('poisson', 10, 50_000)
    const gaps = new Distribution()
    times.forEach((time, i) => gaps.add(time - (times[i - 1] ?? 0)))
    expect(gaps.mean).toBeCloseTo(0.1, 2)
    expect(gaps.quantile(0.5) / (Math.LN2 / 10)).toBeCloseTo(1, 1)
    expect(gaps.quantile(0.99) / (Math.log(100) / 10)).toBeCloseTo(1, 1)
  })

  it('of diurnal are few at the beginning of a day and many in its middle', () => {
    const times = timesOf('diurnal', 20, 100_000)
    const within = (from: number, to: number) =>
      times.filter((time) => time % PERIOD >= from * PERIOD && time % PERIOD < to * PERIOD).length
    const ratio = within(0.4, 0.6) / (within(0, 0.1) + within(0.9, 1))
    // (1 + 0.8 a) / (1 - 0.8 a), where a = sin(pi / 5) / (pi / 5) is the mean of the cosine there.
    const mean = (0.8 * Math.sin(Math.PI / 5)) / (Math.PI / 5)
    expect(ratio / ((1 + mean) / (1 - mean))).toBeCloseTo(1, 1)
  })
})

describe('a distribution', () => {
  it('knows quantiles to a hundredth', () => {
    const distribution = new Distribution()
    for (let i = 1; i <= 10_000; i++) distribution.add(i / 100)
    for (const share of [0.01, 0.5, 0.9, 0.99])
      expect(Math.abs(distribution.quantile(share) / (100 * share) - 1)).toBeLessThan(0.011)
    expect(distribution.mean).toBeCloseTo(50.005, 6)
    expect(distribution.largest).toBe(100)
  })

  it('counts zeros, and refuses what is no duration', () => {
    const distribution = new Distribution()
    for (const value of [0, 0, 0, 1]) distribution.add(value)
    expect(distribution.quantile(0.5)).toBe(0)
    expect(distribution.quantile(0.99)).toBeCloseTo(1, 1)
    expect(() => distribution.add(-1)).toThrow(RangeError)
    expect(() => distribution.add(NaN)).toThrow(RangeError)
  })
})

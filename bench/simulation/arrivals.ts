/** When requests come: processes of arrivals, as functions of a seed. */
import { Draws } from '../../src/train/tasks/draws.js'

export const traces = ['poisson', 'diurnal', 'bursts'] as const

/**
 * | trace | rate |
 * |---|---|
 * | `poisson` | constant |
 * | `diurnal` | a sine of period `period` about the mean, down to a fifth of it and up to nine fifths |
 * | `bursts` | calm, and in a tenth of the time, for 20 s on average, five and a half times the mean |
 */
export type Trace = (typeof traces)[number]

export interface Arrivals {
  trace: Trace
  /** Mean, per second. */
  rate: number
  /** Seconds of a day of `diurnal`. */
  period: number
  seed: number
}

const SWING = 0.8
const BURST_SHARE = 0.1
const BURST_SECONDS = 20
const BURST_RATE = 5.5
const CALM_RATE = (1 - BURST_SHARE * BURST_RATE) / (1 - BURST_SHARE)

const STREAM = 1

const exponential = (draws: Draws, mean: number): number => -mean * Math.log(draws.share())

/** Times in seconds, ascending, without end. */
export function* arrivalTimes({ period, rate, seed, trace }: Arrivals): Generator<number, never> {
  const draws = new Draws(seed, STREAM)
  const most = { poisson: 1, diurnal: 1 + SWING, bursts: BURST_RATE }[trace]
  const bursts = burstRates(new Draws(seed, STREAM + 1))
  let burst = bursts.next().value
  let time = 0
  // Thinning (Lewis and Shedler 1979): of arrivals at the highest rate, each is kept with the present share of it.
  for (;;) {
    time += exponential(draws, 1 / (most * rate))
    while (burst.until <= time) burst = bursts.next().value
    const present = {
      poisson: 1,
      diurnal: 1 - SWING * Math.cos((2 * Math.PI * time) / period),
      bursts: burst.rate,
    }[trace]
    if (most * draws.share() < present) yield time
  }
}

function* burstRates(draws: Draws): Generator<{ rate: number; until: number }, never> {
  let until = 0
  for (;;) {
    until += exponential(draws, (BURST_SECONDS * (1 - BURST_SHARE)) / BURST_SHARE)
    yield { rate: CALM_RATE, until }
    until += exponential(draws, BURST_SECONDS)
    yield { rate: BURST_RATE, until }
  }
}

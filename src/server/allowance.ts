/**
 * How far the answers of one run may be extended: an operator's caps bind the sum of a budget and
 * all that was added to it. Follows the run by its events, as its client takes them.
 */
import { BasinError } from '../errors.js'
import type { RequestEvent } from '../generation/protocol.js'
import { settledAnswers } from '../generation/settled-answers.js'
import type { Budget } from '../refine/budget.js'
import type { Caps } from '../refine/presets.js'
import type { Extra } from '../refine/stop.js'

interface Cost {
  steps: number | undefined
  seconds: number | undefined
}

export class Allowance {
  /** What every answer begins with; a limit that is absent cannot be raised. */
  private readonly initial: Cost
  private readonly most: Record<keyof Cost, number>
  /** What the present answer may take. */
  private granted: Cost
  /** The last settled answer: what it might have taken, and what it took. */
  private settled: { granted: Cost; took: Cost } | undefined
  /** What the held answer took: extensions count from there. */
  private stood: Cost | undefined

  constructor({ maxSeconds, maxSteps }: Budget, caps: Caps) {
    this.initial = { steps: maxSteps, seconds: maxSeconds }
    this.granted = this.initial
    this.most = { steps: caps.maxSteps, seconds: caps.maxSeconds }
  }

  take(event: RequestEvent): void {
    for (const { seconds, steps } of settledAnswers(event)) {
      this.settled = { granted: this.granted, took: { steps, seconds } }
      this.granted = this.initial
    }
    if (event.type === 'finished' && this.settled) {
      this.granted = this.settled.granted
      this.stood = this.settled.took
    }
  }

  /** Throws `out_of_range` where the sum would exceed a cap; grants the extra otherwise. */
  extend(extra: Extra): void {
    this.granted = this.check(extra)
    this.stood = undefined
  }

  /** What `extend` would grant; throws as it does, and grants nothing. */
  check(extra: Extra): Cost {
    return {
      steps: this.raised('steps', extra.steps),
      seconds: this.raised('seconds', extra.seconds),
    }
  }

  private raised(param: keyof Cost, extra: number | undefined): number | undefined {
    const present = this.granted[param]
    if (extra === undefined || present === undefined) return present
    const from = this.stood?.[param] ?? present
    const most = this.most[param]
    if (from + extra <= most) return from + extra
    const left = Math.max(0, most - from)
    throw new BasinError('out_of_range', {
      param,
      bound: `at most ${left} (an answer may take ${most} in all)`,
      value: extra,
    })
  }
}

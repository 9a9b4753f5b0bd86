/**
 * How far the answers of one request may be extended: the operator's caps bind the sum of an answer's
 * budget and all that was added to it. It knows the request by the events that its consumer has taken.
 */
import { BasinError } from '../../errors.js'
import type { RequestEvent } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import type { Budget } from '../../refine/budget.js'
import type { Caps } from '../../refine/presets.js'
import type { Extra } from '../../refine/stop.js'
import type { RequestObserver } from './request-observer.js'

interface Cost {
  steps: number | undefined
  seconds: number | undefined
}

export class ExtensionAllowance implements RequestObserver {
  /** What every answer begins with. A limit that the budget does not have cannot be raised. */
  private readonly initial: Cost
  private readonly most: Record<keyof Cost, number>
  /** What the answer that descends now may take. */
  private granted: Cost
  /** What the latest settled answer might have taken, and what it took. */
  private settled: { granted: Cost; took: Cost } | undefined
  /** What the held answer took: an extension counts from there. */
  private heldAt: Cost | undefined

  constructor({ maxSeconds, maxSteps }: Budget, caps: Caps) {
    this.initial = { steps: maxSteps, seconds: maxSeconds }
    this.granted = this.initial
    this.most = { steps: caps.maxSteps, seconds: caps.maxSeconds }
  }

  observe(event: RequestEvent): void {
    for (const { seconds, steps } of settledAnswers(event)) {
      this.settled = { granted: this.granted, took: { steps, seconds } }
      this.granted = this.initial
    }
    if (event.type === 'finished' && this.settled) {
      this.granted = this.settled.granted
      this.heldAt = this.settled.took
    }
  }

  /** Grants `extra`, or throws `out_of_range` where the sum would exceed a cap. */
  extend(extra: Extra): void {
    this.granted = this.check(extra)
    this.heldAt = undefined
  }

  /** Returns what `extend` would grant and throws as it does, but grants nothing. */
  check(extra: Extra): Cost {
    return {
      steps: this.raised('steps', extra.steps),
      seconds: this.raised('seconds', extra.seconds),
    }
  }

  private raised(param: keyof Cost, extra: number | undefined): number | undefined {
    const granted = this.granted[param]
    if (extra === undefined || granted === undefined) return granted
    const from = this.heldAt?.[param] ?? granted
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

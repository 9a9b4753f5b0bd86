/**
 * How many steps go to the device at once. Each submission costs a wait, so there should be many; what
 * was submitted cannot be stopped, so they should not take long together.
 */

/** Milliseconds that a submission should take at most; two may be under way. */
const wantedMs = 10
const mostRounds = 64
/** Weight of the latest submission in the estimate. */
const weight = 0.3

export class Pace {
  private roundMs: number | undefined
  private lastEnded = 0

  get rounds(): number {
    if (this.roundMs === undefined) return 4
    return Math.max(1, Math.min(mostRounds, Math.floor(wantedMs / this.roundMs)))
  }

  /** `began` and `ended`: of a submission, milliseconds. The device may have computed an earlier one at first. */
  took(rounds: number, began: number, ended: number): void {
    const each = (ended - Math.max(began, this.lastEnded)) / rounds
    this.lastEnded = ended
    this.roundMs = this.roundMs === undefined ? each : this.roundMs + weight * (each - this.roundMs)
  }
}

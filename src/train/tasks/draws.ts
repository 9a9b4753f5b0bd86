/** Random numbers of a task's examples. Imports nothing that a browser lacks. */
import { uniform } from '../../refine/random.js'

/** Integers from min to max, both included. */
export interface Range {
  min: number
  max: number
}

/** The random numbers of one attempt: functions of (seed, attempt, how many were drawn before). */
export class Draws {
  #drawn = 0

  constructor(
    private readonly seed: number,
    private readonly attempt: number,
  ) {}

  /** Uniform in (0, 1). */
  share(): number {
    return uniform(this.seed, this.attempt, this.#drawn++)
  }

  /** An integer, uniform in 0 to below - 1. */
  below(below: number): number {
    return Math.floor(this.share() * below)
  }

  /** An integer, uniform in min to max. */
  within({ min, max }: Range): number {
    return min + this.below(max - min + 1)
  }

  /** Shuffles in place. */
  shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const other = items[j]
      items[j] = items[i]
      items[i] = other
    }
  }
}

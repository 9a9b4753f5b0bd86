/** Batches on the engine: how long they took, and whom they fail. */
import type { RequestTable } from './request-table.js'
import type { TickStats } from '../protocol.js'
import type { RequestState } from './request-state.js'

const none = (): TickStats['seconds'] => ({ observe: 0, descend: 0, read: 0 })

export class EngineCalls {
  /** By phase, since they were last taken. */
  seconds = none()

  constructor(
    private readonly jobs: RequestTable,
    private readonly now: () => number,
  ) {}

  /**
   * Times a call for these rows and, if it throws, fails their jobs and no others: the boundary
   * between one batch and the rest of the work. Nothing is called for no rows.
   */
  run<T>(
    phase: keyof TickStats['seconds'],
    rows: readonly { state: RequestState }[],
    engine: () => T,
  ): T | undefined {
    if (rows.length === 0) return undefined
    return this.guard(rows, () => this.timed(phase, engine))
  }

  /** Fails the jobs of these rows, and no others, if `work` throws. */
  guard<T>(rows: readonly { state: RequestState }[], work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      for (const state of new Set(rows.map((row) => row.state))) this.jobs.fail(state, error)
      return undefined
    }
  }

  timed<T>(phase: keyof TickStats['seconds'], engine: () => T): T {
    const began = this.now()
    try {
      return engine()
    } finally {
      this.seconds[phase] += this.now() - began
    }
  }

  /** The seconds until now; from here on they count from 0. */
  take(): TickStats['seconds'] {
    const { seconds } = this
    this.seconds = none()
    return seconds
  }
}

/**
 * Low-priority work: surveys in the order of their answers, a few points of the first in ticks that
 * have nothing else to do, or after so many that had.
 */
import type { SynchronousEngine } from '../../energy/engine.js'
import type { Answer, Candidate } from './answer.js'
import type { EngineCalls } from './engine-calls.js'
import type { RequestTable } from './request-table.js'
import type { ProbeRequest } from '../protocol.js'
import type { RequestState } from './request-state.js'
import { LandscapeProbe } from './landscape-probe.js'

/** Busy ticks after which a survey gets a turn all the same. */
const PATIENCE = 16

export class LandscapeProbes {
  private readonly waiting = new Set<LandscapeProbe>()
  /** Busy ticks since one had time for a survey. */
  private waited = 0

  constructor(
    private readonly engine: SynchronousEngine,
    private readonly jobs: RequestTable,
    private readonly calls: EngineCalls,
  ) {}

  get some(): boolean {
    return this.waiting.size > 0
  }

  add(state: RequestState, answer: Answer, chosen: Candidate, asked: ProbeRequest): void {
    this.waiting.add(new LandscapeProbe(this.engine, state, answer, chosen, asked))
  }

  /** `busy`: whether the tick had other work. */
  proceed(busy: boolean): void {
    const [survey] = this.waiting
    if (!survey || (busy && ++this.waited < PATIENCE)) return
    this.waited = 0
    const { chosen, state } = survey
    if (this.jobs.of(state.requestId) !== state) {
      this.waiting.delete(survey)
      return
    }
    const done = this.calls.run('read', [{ state }], () => survey.proceed())
    if (done === false) return
    this.waiting.delete(survey)
    if (done !== true) return
    this.jobs.emit(state, { type: 'probed', lines: survey.result })
    this.jobs.complete(state, chosen)
  }
}

/**
 * Low-priority work: surveys in the order of their answers, a few points of the first in ticks that
 * have nothing else to do, or after so many that had.
 */
import type { EnergyEngine } from '../energy/engine.js'
import type { Answer, Candidate } from './answer.js'
import type { Calls } from './calls.js'
import type { Jobs } from './jobs.js'
import type { SurveyRequest } from './protocol.js'
import type { Running } from './running.js'
import { Survey } from './survey.js'

/** Busy ticks after which a survey gets a turn all the same. */
const PATIENCE = 16

export class Surveys {
  private readonly waiting = new Set<Survey>()
  /** Busy ticks since one had time for a survey. */
  private waited = 0

  constructor(
    private readonly engine: EnergyEngine,
    private readonly jobs: Jobs,
    private readonly calls: Calls,
  ) {}

  get some(): boolean {
    return this.waiting.size > 0
  }

  add(running: Running, answer: Answer, chosen: Candidate, asked: SurveyRequest): void {
    this.waiting.add(new Survey(this.engine, running, answer, chosen, asked))
  }

  /** `busy`: whether the tick had other work. */
  proceed(busy: boolean): void {
    const [survey] = this.waiting
    if (!survey || (busy && ++this.waited < PATIENCE)) return
    this.waited = 0
    const { chosen, running } = survey
    if (this.jobs.of(running.ticket) !== running) {
      this.waiting.delete(survey)
      return
    }
    const done = this.calls.run('read', [{ running }], () => survey.proceed())
    if (done === false) return
    this.waiting.delete(survey)
    if (done !== true) return
    this.jobs.emit(running, { type: 'surveyed', lines: survey.result })
    this.jobs.complete(running, chosen)
  }
}

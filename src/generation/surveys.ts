/**
 * Low-priority work: surveys in the order of their answers, a few points of the first in ticks that
 * have nothing else to do, or after so many that had.
 */
import type { EnergyEngine } from '../energy/engine.js'
import type { Answer, Candidate } from './answer.js'
import type { Calls } from './calls.js'
import type { Jobs } from './jobs.js'
import { PlaneProbe } from './plane.js'
import type { SurveyRequest } from './protocol.js'
import type { Running } from './running.js'
import { Survey } from './survey.js'

/** Busy ticks after which a survey gets a turn all the same. */
const PATIENCE = 16

export class Surveys {
  /** Lines first: what a picture takes again of the descent leaves them nothing to begin from. */
  private readonly waiting = new Set<Task>()
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
    const lines = new Survey(this.engine, running, answer, chosen, asked)
    this.waiting.add({ running, answer, chosen, asked, lines })
  }

  /** `busy`: whether the tick had other work. */
  proceed(busy: boolean): void {
    const [task] = this.waiting
    if (!task || (busy && ++this.waited < PATIENCE)) return
    this.waited = 0
    const { chosen, running } = task
    if (this.jobs.of(running.ticket) !== running) {
      this.waiting.delete(task)
      return
    }
    const done = this.calls.run('read', [{ running }], () => this.look(task))
    if (done === false) return
    this.waiting.delete(task)
    if (done !== true) return
    const lines = task.lines.result
    const plane = task.plane && { plane: task.plane.result }
    this.jobs.emit(running, { type: 'surveyed', lines, ...plane })
    this.jobs.complete(running, chosen)
  }

  /** True when nothing is left to look at. */
  private look(task: Task): boolean {
    if (!task.plane && !task.lines.proceed()) return false
    const { answer, asked, chosen, running } = task
    if (!asked.plane) return true
    if (task.plane) return task.plane.proceed()
    task.plane = new PlaneProbe(this.engine, running, answer, chosen, asked.plane)
    return false
  }
}

/** What is to be looked at of one answer. */
interface Task {
  readonly running: Running
  readonly answer: Answer
  readonly chosen: Candidate
  readonly asked: SurveyRequest
  readonly lines: Survey
  plane?: PlaneProbe
}

/**
 * What the next batch on the engine does: what has settled is read first, else several answers of the only
 * request follow each other in one call, else everybody whose turn it is takes a step, and a probe of a
 * landscape takes part where nobody has to wait for it. Decides who takes part, with the scheduler of slots
 * and pages; makes no call of the engine and applies no outcome.
 */
import type { Plan, SlotRow } from '../../scheduler/plan.js'
import type { Scheduler } from '../../scheduler/scheduler.js'
import { inSlots } from './answers/answer.js'
import type { Clamping } from './requests/clamp.js'
import type { ProbeQueue } from './requests/landscape-probe.js'
import type { MultiStep } from './multi-step.js'
import type { OutputProcessor } from './output-processor.js'
import { type CandidateRow, candidateOf, type RequestState } from './requests/request-state.js'
import type { RequestTable } from './requests/request-table.js'
import {
  type ChangeRow,
  emptyPlan,
  hasWork,
  type Observation,
  type RestartRow,
  type SlotMove,
  type StepPlan,
} from './step-plan.js'

export class StepScheduler {
  constructor(
    private readonly slotScheduler: Pick<Scheduler, 'giveUpSlots' | 'schedule' | 'takeTurns'>,
    private readonly requests: Pick<
      RequestTable,
      'evict' | 'find' | 'preempt' | 'takeClampings' | 'takeDue'
    >,
    private readonly output: Pick<OutputProcessor, 'hasSettled' | 'plan'>,
    private readonly multiStep: Pick<MultiStep, 'answersInARow' | 'stepsOf'>,
    private readonly probes: Pick<ProbeQueue, 'next' | 'some'>,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  schedule(): StepPlan {
    // Before anything of the next step changes what a request is.
    const save = this.requests.takeDue()
    if (save.length > 0) return { ...emptyPlan, save }
    if (this.output.hasSettled) return this.output.plan()
    const clamp = this.requests.takeClampings()
    const answersInARow = clamp.length > 0 ? undefined : this.multiStep.answersInARow()
    return answersInARow ? { ...emptyPlan, answersInARow } : this.batch(clamp)
  }

  private batch(clamp: readonly Clamping[]): StepPlan {
    const plan = this.slotScheduler.schedule()
    for (const evicted of plan.evicted) this.requests.evict(evicted)
    for (const preempted of plan.preempted) this.requests.preempt(preempted)
    const moveOut = this.moveOut(plan)
    const beginning = this.begin(plan)
    const moveIn = this.moveIn(plan)
    const descend = this.descendingRows(plan)
    const restart = this.restarts(descend)
    const change = this.changes(descend)
    // Points of a landscape are looked at between steps, so calls are short while there are any.
    const steps = this.probes.some ? 1 : this.multiStep.stepsOf(descend)
    const batch: StepPlan = {
      save: [],
      moveOut,
      release: plan.release,
      admitted: this.admitted(plan),
      observe: this.observations(plan),
      moveIn,
      clamp,
      restart,
      change,
      swap: [],
      represent: beginning.filter(({ encodesPrompt }) => encodesPrompt),
      descend,
      steps,
      score: beginning
        .filter(({ scoresGiven }) => scoresGiven)
        .map((state) => ({ state, tokens: state.givenTokens })),
      close: [],
      read: [],
      probe: undefined,
      answersInARow: undefined,
    }
    const probe = this.probes.next(hasWork(batch))
    return probe ? { ...batch, probe } : batch
  }

  private admitted({ admitted }: Plan): StepPlan['admitted'] {
    const now = this.now()
    return admitted.flatMap(({ requestId }) => {
      const state = this.requests.find(requestId)
      return state ? [{ state, queueSeconds: now - state.submittedAt }] : []
    })
  }

  private observations({ observe }: Plan): Observation[] {
    const observations: Observation[] = []
    for (const { contextId, from, pages, requestId, to } of observe) {
      const state = this.requests.find(requestId)
      if (state) observations.push({ state, contextId, pages, from, to })
    }
    return observations
  }

  private begin({ begin, resumed }: Plan): RequestState[] {
    for (const { contextId, requestId } of resumed) {
      const state = this.requests.find(requestId)
      if (state) state.contextId = contextId
    }
    const states: RequestState[] = []
    for (const { contextId, requestId } of begin) {
      const state = this.requests.find(requestId)
      if (!state) continue
      state.contextId = contextId
      const { series, turns } = state.begin()
      // An answer that goes on may be in the middle of a round.
      if (series && series.steps > 0) this.slotScheduler.takeTurns(requestId, turns)
      states.push(state)
    }
    return states
  }

  /** Candidates that lose their slots. The clock of an answer stops while it has none. */
  private moveOut({ moveOut }: Plan): SlotMove[] {
    const now = this.now()
    const moves = this.movesOf(moveOut)
    for (const move of moves) {
      const { answer, candidate } = candidateOf(move)
      candidate.slot = undefined
      if (inSlots(answer).length === 0) answer.stopClock(now)
    }
    return moves
  }

  /** Candidates that get slots. What is only to be scored or encoded needs none. */
  private moveIn({ moveIn }: Plan): SlotMove[] {
    const moves: SlotMove[] = []
    for (const move of this.movesOf(moveIn)) {
      const { slot, state } = move
      if (state.encodesPrompt || state.scoresGiven) {
        this.slotScheduler.giveUpSlots(state.requestId)
        continue
      }
      const { candidate } = candidateOf(move)
      if (candidate.saved) move.saved = candidate.saved
      candidate.slot = slot
      candidate.saved = undefined
      moves.push(move)
    }
    return moves
  }

  private movesOf(rows: readonly SlotRow[]): SlotMove[] {
    const moves: SlotMove[] = []
    for (const { candidate: index, requestId, slot } of rows) {
      const state = this.requests.find(requestId)
      if (state) moves.push({ state, index, slot })
    }
    return moves
  }

  private restarts(descend: readonly CandidateRow[]): RestartRow[] {
    const rows: RestartRow[] = []
    for (const { index, state } of descend) {
      const restart = state.answer?.restart(index)
      if (restart) rows.push({ state, index, restart })
    }
    return rows
  }

  private changes(descend: readonly CandidateRow[]): ChangeRow[] {
    const rows: ChangeRow[] = []
    for (const { index, state } of descend) {
      const change = state.answer?.change(index)
      if (change) rows.push({ state, index, change })
    }
    return rows
  }

  private descendingRows({ descend }: Plan): CandidateRow[] {
    const rows: CandidateRow[] = []
    for (const { candidate: index, requestId } of descend) {
      const state = this.requests.find(requestId)
      if (state?.answer?.hasTurn(index)) rows.push({ state, index })
    }
    return rows
  }
}

/**
 * Requests from submission to release, by id: what their clients ask of them, and how they end. Every end
 * passes through here, so that slots, pages and contexts are given back in one place. Takes no step, and
 * does not know what has settled: that is output-processor.ts.
 */
import type { EnergyEngine } from '../../../energy/engine.js'
import { BasinError, toErrorMessage } from '../../../errors.js'
import type { Budget, StopReason } from '../../../refine/budget.js'
import type { Extra } from '../../../refine/stop.js'
import type { RequestNeeds, ScheduledRequest } from '../../../scheduler/plan.js'
import type { Scheduler } from '../../../scheduler/scheduler.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { TokenMask } from '../../../tokenizer/grammar/grammar.js'
import type { Control, EngineRequest, Of } from '../../protocol.js'
import { inSlots } from '../answers/answer.js'
import type { Candidate } from '../answers/candidate.js'
import { type Clamping, clampToken } from './clamp.js'
import type { EventQueue } from './event-queue.js'
import type { TermSetting } from './prepare-terms.js'
import {
  type CandidateRow,
  candidateOf,
  type RequestMemory,
  RequestState,
} from './request-state.js'
import { packThought, unpackThought } from '../../thought-bytes.js'
import { refinementOf } from './token-selection.js'

export interface RequestTableOptions {
  /** Seconds a finished answer may be extended. */
  holdSeconds: number
  /** Seconds a request may be paused in all; then it is finished with the best so far. */
  pauseSeconds: number
  /** The other models that terms of requests may name. Absent: none can be opened. */
  termModels?: TermSetting['others']
}

const notSaved = {
  param: 'type',
  reason: 'only a completion can be saved: nothing scored, held, represented or probed',
}

export class RequestTable {
  private readonly byId = new Map<string, RequestState>()
  private readonly byRequestId = new Map<number, RequestState>()
  /** Whose thoughts are to be saved before the next step. */
  private readonly due = new Set<RequestState>()

  constructor(
    private readonly engine: Pick<
      EnergyEngine,
      'capacity' | 'identity' | 'info' | 'model' | 'release'
    >,
    private readonly tokenizer: Tokenizer,
    private readonly scheduler: Pick<Scheduler, 'hold' | 'pause' | 'release' | 'reopen' | 'submit'>,
    private readonly events: EventQueue,
    private readonly options: RequestTableOptions,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** `mask`: of its completion, closed when the request is gone. Throws what is wrong with the request. */
  submit(request: EngineRequest, mask?: TokenMask): void {
    if (this.byId.has(request.id)) {
      const reason = `a request with the id ${request.id} is running`
      throw new BasinError('invalid_request', { param: 'id', reason })
    }
    const state = this.stateOf(request, mask)
    const { from } = request
    if (from) {
      const memory = unpackThought(this.engine, from.thought) as RequestMemory
      state.recall(memory, from.repeats)
    }
    state.requestId = this.scheduler.submit({
      client: request.client,
      context: state.context,
      whole: state.encodesPrompt,
      positions: state.positions,
      candidates: request.budget.candidates,
      ...orderOf(request.budget),
    })
    this.byId.set(request.id, state)
    this.byRequestId.set(state.requestId, state)
  }

  /** Throws what is wrong with the request by itself. */
  check(request: EngineRequest): void {
    this.stateOf(request)
  }

  /**
   * Does what a client asks of its request, and nothing if the request is gone; but `extend` throws
   * `not_held` then. Returns the request if candidates of its answer may have stopped.
   */
  control(id: string, control: Control): RequestState | undefined {
    const state = this.byId.get(id)
    if (!state) {
      if (control.type === 'extend') throw new BasinError('not_held', { what: id })
      return undefined
    }
    switch (control.type) {
      case 'cancel':
        this.cancel(state)
        return undefined
      case 'finish':
        this.finish(state)
        this.steered(state)
        return state
      case 'extend':
        if (state.heldUntil === undefined) state.extend(control)
        else this.reopen(state, control)
        this.steered(state)
        return state
      case 'clamp':
        this.clamp(state, control)
        return undefined
      case 'pause':
      case 'resume':
        this.pause(state, control.type === 'pause')
        return undefined
      case 'save':
        if (state.canBeSaved) this.due.add(state)
        else this.decline(state, new BasinError('not_supported', notSaved))
        return undefined
      case 'repeated':
        this.goOn(state)
        return undefined
    }
  }

  private steered(state: RequestState): void {
    state.steered++
    this.saveSoon(state)
  }

  /** What readers had seen is behind it: from here on it takes its own time. */
  private goOn(state: RequestState): void {
    const { answer } = state
    if (!state.repeats) return
    state.repeats = false
    if (answer && !answer.settled && inSlots(answer).length > 0) answer.startClock(this.now())
  }

  private decline(state: RequestState, error: BasinError): void {
    const event = { type: 'declined' as const, error: toErrorMessage(error) }
    this.events.push(state.request, event, this.now())
  }

  private clamp(state: RequestState, { position, text }: { position: number; text: string }): void {
    try {
      const token = clampToken(text, this.engine.model, this.tokenizer)
      state.clampings.push({ position, token })
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      this.decline(state, error)
    }
  }

  /** Its thought is saved before the next step, if it may be. */
  saveSoon(state: RequestState): void {
    if (state.request.saves) this.due.add(state)
  }

  /** Those whose thoughts are to be saved now. */
  takeDue(): RequestState[] {
    if (this.due.size === 0) return []
    const due = [...this.due].filter((state) => this.has(state))
    this.due.clear()
    return due
  }

  /** Reports what a request was between two steps. `saved`: by candidate, the states of those in slots. */
  save(state: RequestState, saved: readonly (Uint8Array | undefined)[], seconds: number): void {
    const { answer, settledSteps, steered } = state
    const { maxSeconds, maxSteps } = state.limits
    const began = this.now()
    const thought = packThought(this.engine, state.memory(saved, began))
    const event = {
      type: 'saved' as const,
      thought,
      steps: settledSteps + (answer?.stepsSpent ?? 0),
      steered,
      limits: {
        ...(maxSteps !== undefined && { maxSteps }),
        ...(maxSeconds !== undefined && { maxSeconds }),
      },
      seconds: seconds + this.now() - began,
    }
    this.events.push(state.request, event, this.now())
  }

  /** What clients want fixed or opened since this was last asked. */
  takeClampings(): Clamping[] {
    const clampings: Clamping[] = []
    for (const state of this.byId.values()) {
      if (state.clampings.length === 0) continue
      for (const clamping of state.clampings) clampings.push({ state, ...clamping })
      state.clampings = []
    }
    return clampings
  }

  /** By the number that the scheduler gave it. */
  find(requestId: number): RequestState | undefined {
    return this.byRequestId.get(requestId)
  }

  /** It has not ended. */
  has(state: RequestState): boolean {
    return this.byRequestId.get(state.requestId) === state
  }

  /** The only request that is not held; undefined where there are none or more. */
  alone(): RequestState | undefined {
    let only: RequestState | undefined
    for (const state of this.byId.values()) {
      if (state.heldUntil !== undefined) continue
      if (only) return undefined
      only = state
    }
    return only
  }

  /**
   * Ends a request whose last answer has become text, or keeps that answer if the client wants to extend it.
   * `chosen`: the candidate that became the answer, if one descended.
   */
  complete(state: RequestState, chosen?: CandidateRow): void {
    const candidate = chosen && candidateOf(chosen).candidate
    const cut = state.isFull && !state.completion.ended && !state.hasTemplate
    const reason = state.requiredHold ? (cut ? 'length' : 'stop') : 'unsatisfied'
    this.emitFinished(state, reason, candidate, candidate?.stopped ?? 'finished')
    if (!state.request.hold) {
      this.remove(state)
      return
    }
    const now = this.now()
    state.answer?.stopClock(now)
    state.heldUntil = now + this.options.holdSeconds
    this.scheduler.hold(state.requestId)
  }

  fail(state: RequestState, error: unknown): void {
    this.events.push(state.request, { type: 'failed', error: toErrorMessage(error) }, this.now())
    this.remove(state)
  }

  /** The scheduler has given the room of a held request to another. */
  evict({ contextId, requestId }: ScheduledRequest): void {
    const state = this.byRequestId.get(requestId)
    if (!state) return
    this.engine.release(contextId)
    this.forget(state)
  }

  /** The scheduler has given its pages to another: its context is to be observed again. */
  preempt({ requestId }: ScheduledRequest): void {
    const state = this.byRequestId.get(requestId)
    state?.promptStates.clear()
    state?.answer?.stopClock(this.now())
  }

  /** Releases held answers whose time is over, and finishes paused ones; returns the latter. */
  expire(): RequestState[] {
    const now = this.now()
    const finished: RequestState[] = []
    for (const state of this.byId.values()) {
      if (state.heldUntil !== undefined && state.heldUntil <= now) this.remove(state)
      else if (state.pausedUntil !== undefined && state.pausedUntil <= now) {
        this.finish(state)
        finished.push(state)
      }
    }
    return finished
  }

  /** When `expire` next has something to do, in seconds of the clock. */
  get nextExpiry(): number | undefined {
    let next: number | undefined
    for (const { heldUntil, pausedUntil } of this.byId.values()) {
      const end = heldUntil ?? pausedUntil
      if (end !== undefined && end < (next ?? Infinity)) next = end
    }
    return next
  }

  /** Throws what is wrong with the request. */
  private stateOf(request: EngineRequest, mask?: TokenMask): RequestState {
    if (request.terms && this.engine.capacity.takesPushes !== true) {
      const reason = `the engine ${this.engine.info.name} adds no terms to an energy; serve the model with native or tfjs`
      throw new BasinError('not_supported', { param: 'energy_terms', reason })
    }
    const { termModels } = this.options
    const { model } = this.engine
    return new RequestState(request, model, this.tokenizer, this.now(), mask, termModels)
  }

  private cancel(state: RequestState): void {
    if (state.heldUntil === undefined)
      this.emitFinished(state, 'cancelled', state.answer?.candidates[0], 'cancelled')
    this.remove(state)
  }

  /** The present answer is the last; where there is none, the next one is, after its first step. */
  private finish(state: RequestState): void {
    if (state.heldUntil !== undefined) return
    state.finishing = true
    this.pause(state, false)
    state.answer?.finish()
  }

  private pause(state: RequestState, paused: boolean): void {
    if (state.heldUntil !== undefined) return
    if (paused === (state.pausedUntil !== undefined)) return
    const now = this.now()
    const left = this.options.pauseSeconds - state.pausedSeconds
    if (paused && left <= 0) {
      const reason = `it was paused for the ${this.options.pauseSeconds} seconds that it may be in all`
      this.decline(state, new BasinError('invalid_frame', { param: 'type', reason }))
      return
    }
    this.scheduler.pause(state.requestId, paused)
    if (paused) {
      state.pausedUntil = now + left
      state.answer?.stopClock(now)
    } else {
      const begunAt = (state.pausedUntil ?? now) - left
      state.pausedSeconds += now - begunAt
      state.pausedUntil = undefined
      // Where it has lost its slots in the meantime, its clock starts when it has some again.
      if (state.answer && !state.answer.settled && inSlots(state.answer).length > 0)
        state.answer.startClock(now)
    }
  }

  private reopen(state: RequestState, extra: Extra): void {
    const { answer } = state
    if (!answer) throw new BasinError('not_held', { what: state.request.id })
    state.rewind(answer)
    answer.reopen(extra, this.now())
    this.scheduler.reopen(state.requestId)
  }

  private emitFinished(
    state: RequestState,
    finishReason: Of<'finished'>['finishReason'],
    candidate: Candidate | undefined,
    stopReason: StopReason,
  ): void {
    const finished = {
      type: 'finished' as const,
      finishReason,
      text: state.completion.text,
      usage: {
        promptTokens: state.promptTokens,
        completionTokens: state.completion.tokens.length,
      },
      refinement: refinementOf(state, candidate, stopReason),
    }
    this.events.push(state.request, finished, this.now())
  }

  private remove(state: RequestState): void {
    const released = this.scheduler.release(state.requestId)
    if (released) this.engine.release(released.contextId)
    this.forget(state)
  }

  private forget(state: RequestState): void {
    this.due.delete(state)
    state.mask?.close()
    if (state.heldUntil !== undefined) this.events.release(state.request.id)
    this.byId.delete(state.request.id)
    this.byRequestId.delete(state.requestId)
  }
}

export function orderOf({ allocation, restarts }: Budget): Pick<RequestNeeds, 'order'> {
  if (restarts) return { order: 'rounds' }
  return allocation === 'adaptive' ? { order: 'sequence' } : {}
}

/**
 * Who is here: jobs from submission to release, what their clients ask of them, and how they end.
 * Every ending passes through here, so slots, pages and contexts are given back in one place.
 * Makes no batch and takes no step: that is loop.ts.
 */
import { BasinError, toErrorMessage } from '../../errors.js'
import type { Interrupt } from '../../energy/interrupt.js'
import type { SynchronousEngine } from '../../energy/engine.js'
import type { StopReason } from '../../refine/budget.js'
import type { Extra } from '../../refine/stop.js'
import type { ScheduledRequest } from '../../scheduler/plan.js'
import { Scheduler } from '../../scheduler/scheduler.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Candidate } from './answer.js'
import { EventQueue, type OtherEvent } from './event-queue.js'
import type { Control, EngineRequest } from '../protocol.js'
import { RequestState } from './request-state.js'
import { refinementOf } from './token-selection.js'

export interface EngineCoreOptions {
  /** Most prompt tokens observed per tick. */
  prefillChunk: number
  /** Seconds a finished answer may be extended. */
  holdSeconds: number
  /** Seconds an answer may be paused; then it is finished with the best so far. */
  pauseSeconds: number
  /** Contexts of one client that begin alike share pages, where the engine can. Absent: they do. */
  sharePrefixes?: boolean
  /** Rings when a message waits, so that calls of the engine may be long. Absent: they are short. */
  bell?: Interrupt
}

export class RequestTable {
  readonly scheduler: Scheduler
  readonly outbox = new EventQueue()
  /** Their answers are settled, and not read yet. */
  readonly settling = new Set<RequestState>()
  private readonly byId = new Map<string, RequestState>()
  private readonly byTicket = new Map<number, RequestState>()

  constructor(
    private readonly engine: SynchronousEngine,
    private readonly tokenizer: Tokenizer,
    private readonly options: EngineCoreOptions,
    private readonly now: () => number,
  ) {
    const { capacity } = engine
    const sharesPages = capacity.sharesPages === true && options.sharePrefixes !== false
    this.scheduler = new Scheduler({ ...capacity, sharesPages }, options.prefillChunk)
  }

  get bell(): Interrupt | undefined {
    return this.options.bell
  }

  submit(job: EngineRequest): void {
    if (this.byId.has(job.id)) {
      throw new BasinError('invalid_request', { param: 'id', reason: `${job.id} is running` })
    }
    const state = new RequestState(job, this.engine.model, this.tokenizer, this.now())
    state.requestId = this.scheduler.submit({
      client: job.client,
      context: state.context,
      whole: state.encoding,
      positions: state.positions,
      candidates: job.budget.candidates,
    })
    this.byId.set(job.id, state)
    this.byTicket.set(state.requestId, state)
  }

  control(id: string, control: Control): void {
    const state = this.byId.get(id)
    if (!state) {
      if (control.type === 'extend') throw new BasinError('not_held', { what: id })
      return
    }
    switch (control.type) {
      case 'cancel': {
        this.cancel(state)
        return
      }
      case 'finish': {
        this.finish(state)
        return
      }
      case 'extend': {
        if (state.heldUntil === undefined) state.extend(control)
        else this.reopen(state, control)
        return
      }
      case 'pause':
      case 'resume': {
        this.pause(state, control.type === 'pause')
        return
      }
    }
  }

  /** The job of an admitted sequence; undefined when it failed earlier in the same tick. */
  of(requestId: number): RequestState | undefined {
    return this.byTicket.get(requestId)
  }

  /** The job that is here alone but for held answers; undefined where there are none or more. */
  alone(): RequestState | undefined {
    let only: RequestState | undefined
    for (const state of this.byId.values()) {
      if (state.heldUntil !== undefined) continue
      if (only) return undefined
      only = state
    }
    return only
  }

  emit(state: RequestState, event: OtherEvent): void {
    this.outbox.push(state.request, event, this.now())
  }

  /** Ends a job whose last answer is committed; keeps the answer if the client wants to extend it. */
  complete(state: RequestState, chosen: Candidate | undefined): void {
    const cut = state.full && !state.completion.ended && !state.templated
    this.emitFinished(state, cut ? 'length' : 'stop', chosen, chosen?.stopped ?? 'finished')
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
    this.emit(state, { type: 'failed', error: toErrorMessage(error) })
    this.remove(state)
  }

  /** The scheduler took a held sequence's room for another. */
  evict(contextId: ScheduledRequest): void {
    const state = this.byTicket.get(contextId.requestId)
    if (!state) return
    this.engine.release(contextId.contextId)
    this.forget(state)
  }

  /** Time without pages is not counted: the clocks of answers that wait for theirs stand still. */
  interrupt(contextId: ScheduledRequest, interrupted: boolean): void {
    const answer = this.byTicket.get(contextId.requestId)?.answer
    if (interrupted) answer?.stopClock(this.now())
    else answer?.startClock(this.now())
  }

  /** Lets go of held answers whose time is over, and finishes paused ones. */
  expire(): void {
    const now = this.now()
    for (const state of this.byId.values()) {
      if (state.heldUntil !== undefined && state.heldUntil <= now) this.remove(state)
      else if (state.pausedUntil !== undefined && state.pausedUntil <= now) this.finish(state)
    }
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

  private cancel(state: RequestState): void {
    if (state.heldUntil === undefined) {
      this.emitFinished(state, 'cancelled', state.answer?.candidates[0], 'cancelled')
    }
    this.remove(state)
  }

  /** The present answer, or if there is none the next one after its first step, is the last. */
  private finish(state: RequestState): void {
    if (state.heldUntil !== undefined) return
    state.finishing = true
    this.pause(state, false)
    if (!state.answer) return
    state.answer.finish()
    this.withdraw(state)
  }

  private pause(state: RequestState, paused: boolean): void {
    if (state.heldUntil !== undefined) return
    this.scheduler.pause(state.requestId, paused)
    const now = this.now()
    if (paused) {
      state.pausedUntil ??= now + this.options.pauseSeconds
      state.answer?.stopClock(now)
    } else {
      state.pausedUntil = undefined
      state.answer?.startClock(now)
    }
  }

  private reopen(state: RequestState, extra: Extra): void {
    const { answer } = state
    if (!answer) throw new BasinError('not_held', { what: state.request.id })
    state.rewind(answer)
    answer.reopen(extra, this.now())
    this.scheduler.reopen(state.requestId)
    this.withdraw(state)
  }

  /** Candidates that have stopped leave the batch; with the last of them the answer settles. */
  withdraw(state: RequestState): void {
    state.answer?.candidates.forEach(({ stopped }, candidate) => {
      if (stopped) this.scheduler.rest(state.requestId, candidate)
    })
    if (state.answer?.settled) this.settling.add(state)
  }

  private emitFinished(
    state: RequestState,
    finishReason: 'stop' | 'length' | 'cancelled',
    candidate: Candidate | undefined,
    stopReason: StopReason,
  ): void {
    this.emit(state, {
      type: 'finished',
      finishReason,
      text: state.completion.text,
      usage: {
        promptTokens: state.promptTokens,
        completionTokens: state.completion.tokens.length,
      },
      refinement: refinementOf(state, candidate, stopReason),
    })
  }

  private remove(state: RequestState): void {
    const contextId = this.scheduler.release(state.requestId)
    if (contextId) this.engine.release(contextId.contextId)
    this.forget(state)
  }

  private forget(state: RequestState): void {
    if (state.heldUntil !== undefined) this.outbox.release(state.request.id)
    this.settling.delete(state)
    this.byId.delete(state.request.id)
    this.byTicket.delete(state.requestId)
  }
}

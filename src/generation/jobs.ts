/**
 * Who is here: jobs from submission to release, what their clients ask of them, and how they end.
 * Every ending passes through here, so slots, pages and contexts are given back in one place.
 * Makes no batch and takes no step: that is loop.ts.
 */
import { BasinError, toErrorMessage } from '../errors.js'
import type { Bell } from '../energy/bell.js'
import type { EnergyEngine } from '../energy/engine.js'
import type { StopReason } from '../refine/budget.js'
import type { Extra } from '../refine/stop.js'
import type { Sequence } from '../scheduler/plan.js'
import { Scheduler } from '../scheduler/scheduler.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Candidate } from './answer.js'
import { clampPosition } from './clamp.js'
import { Outbox } from './outbox.js'
import type { Control, Job, JobEvent } from './protocol.js'
import { Running } from './running.js'
import { refinementOf } from './settle.js'

export interface LoopOptions {
  /** Most prompt tokens observed per tick. */
  prefillChunk: number
  /** Seconds a finished answer may be extended. */
  holdSeconds: number
  /** Seconds an answer may be paused; then it is finished with the best so far. */
  pauseSeconds: number
  /** Contexts of one client that begin alike share pages, where the engine can. Absent: they do. */
  sharePrefixes?: boolean
  /** Rings when a message waits, so that calls of the engine may be long. Absent: they are short. */
  bell?: Bell
}

export class Jobs {
  readonly scheduler: Scheduler
  readonly outbox = new Outbox()
  /** Their answers are settled, and not read yet. */
  readonly settling = new Set<Running>()
  private readonly byId = new Map<string, Running>()
  private readonly byTicket = new Map<number, Running>()

  constructor(
    private readonly engine: EnergyEngine,
    private readonly tokenizer: Tokenizer,
    private readonly options: LoopOptions,
    private readonly now: () => number,
  ) {
    const { capacity } = engine
    const sharesPages = capacity.sharesPages === true && options.sharePrefixes !== false
    this.scheduler = new Scheduler({ ...capacity, sharesPages }, options.prefillChunk)
  }

  get bell(): Bell | undefined {
    return this.options.bell
  }

  submit(job: Job): void {
    if (this.byId.has(job.id)) {
      throw new BasinError('invalid_request', { param: 'id', reason: `${job.id} is running` })
    }
    const running = new Running(job, this.engine.model, this.tokenizer, this.now())
    running.ticket = this.scheduler.submit({
      client: job.client,
      context: running.context,
      whole: running.encoding,
      positions: running.positions,
      candidates: job.budget.candidates,
    })
    this.byId.set(job.id, running)
    this.byTicket.set(running.ticket, running)
  }

  control(id: string, control: Control): void {
    const running = this.byId.get(id)
    if (!running) {
      if (control.type === 'extend') throw new BasinError('not_held', { what: id })
      return
    }
    switch (control.type) {
      case 'cancel': {
        this.cancel(running)
        return
      }
      case 'finish': {
        this.finish(running)
        return
      }
      case 'extend': {
        if (running.heldUntil === undefined) running.extend(control)
        else this.reopen(running, control)
        return
      }
      case 'clamp': {
        this.clamp(running, control)
        return
      }
      case 'pause':
      case 'resume': {
        this.pause(running, control.type === 'pause')
        return
      }
    }
  }

  /** The job of an admitted sequence; undefined when it failed earlier in the same tick. */
  of(ticket: number): Running | undefined {
    return this.byTicket.get(ticket)
  }

  /** The job that is here alone but for held answers; undefined where there are none or more. */
  alone(): Running | undefined {
    let only: Running | undefined
    for (const running of this.byId.values()) {
      if (running.heldUntil !== undefined) continue
      if (only) return undefined
      only = running
    }
    return only
  }

  emit(running: Running, event: JobEvent, at = this.now()): void {
    this.outbox.push(running.job, event, at)
  }

  /** Ends a job whose last answer is committed; keeps the answer if the client wants to extend it. */
  complete(running: Running, chosen: Candidate | undefined): void {
    const cut = running.full && !running.completion.ended && !running.templated
    this.emitFinished(running, cut ? 'length' : 'stop', chosen, chosen?.stopped ?? 'finished')
    if (!running.job.hold) {
      this.remove(running)
      return
    }
    const now = this.now()
    running.answer?.stopClock(now)
    running.heldUntil = now + this.options.holdSeconds
    this.scheduler.hold(running.ticket)
  }

  fail(running: Running, error: unknown): void {
    this.emit(running, { type: 'failed', error: toErrorMessage(error) })
    this.remove(running)
  }

  /** The scheduler took a held sequence's room for another. */
  evict(sequence: Sequence): void {
    const running = this.byTicket.get(sequence.ticket)
    if (!running) return
    this.engine.release(sequence.sequence)
    this.forget(running)
  }

  /** Time without pages is not counted: the clocks of answers that wait for theirs stand still. */
  interrupt(sequence: Sequence, interrupted: boolean): void {
    const answer = this.byTicket.get(sequence.ticket)?.answer
    if (interrupted) answer?.stopClock(this.now())
    else answer?.startClock(this.now())
  }

  /** Lets go of held answers whose time is over, and finishes paused ones. */
  expire(): void {
    const now = this.now()
    for (const running of this.byId.values()) {
      if (running.heldUntil !== undefined && running.heldUntil <= now) this.remove(running)
      else if (running.pausedUntil !== undefined && running.pausedUntil <= now) this.finish(running)
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

  private cancel(running: Running): void {
    if (running.heldUntil === undefined) {
      this.emitFinished(running, 'cancelled', running.answer?.candidates[0], 'cancelled')
    }
    this.remove(running)
  }

  /** The present answer, or if there is none the next one after its first step, is the last. */
  private finish(running: Running): void {
    if (running.heldUntil !== undefined) return
    running.finishing = true
    this.pause(running, false)
    if (!running.answer) return
    running.answer.finish()
    this.withdraw(running)
  }

  private pause(running: Running, paused: boolean): void {
    if (running.heldUntil !== undefined) return
    this.scheduler.pause(running.ticket, paused)
    const now = this.now()
    if (paused) {
      running.pausedUntil ??= now + this.options.pauseSeconds
      running.answer?.stopClock(now)
    } else {
      running.pausedUntil = undefined
      running.answer?.startClock(now)
    }
  }

  private clamp(running: Running, asked: { position: number; text: string }): void {
    try {
      clampPosition(this.engine, this.tokenizer, running, asked)
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      this.emit(running, { type: 'declined', error: toErrorMessage(error) })
    }
  }

  private reopen(running: Running, extra: Extra): void {
    const { answer } = running
    if (!answer) throw new BasinError('not_held', { what: running.job.id })
    running.rewind(answer)
    answer.reopen(extra, this.now())
    this.scheduler.reopen(running.ticket)
    this.withdraw(running)
  }

  /** Candidates that have stopped leave the batch; with the last of them the answer settles. */
  withdraw(running: Running): void {
    running.answer?.candidates.forEach(({ stopped }, candidate) => {
      if (stopped) this.scheduler.rest(running.ticket, candidate)
    })
    if (running.answer?.settled) this.settling.add(running)
  }

  private emitFinished(
    running: Running,
    finishReason: 'stop' | 'length' | 'cancelled',
    candidate: Candidate | undefined,
    stopReason: StopReason,
  ): void {
    this.emit(running, {
      type: 'finished',
      finishReason,
      text: running.completion.text,
      usage: {
        promptTokens: running.promptTokens,
        completionTokens: running.completion.tokens.length,
      },
      refinement: refinementOf(running, candidate, stopReason),
    })
  }

  private remove(running: Running): void {
    const sequence = this.scheduler.release(running.ticket)
    if (sequence) this.engine.release(sequence.sequence)
    this.forget(running)
  }

  private forget(running: Running): void {
    if (running.heldUntil !== undefined) this.outbox.release(running.job.id)
    this.settling.delete(running)
    this.byId.delete(running.job.id)
    this.byTicket.delete(running.ticket)
  }
}

/**
 * Applies what a step found: the stop rules to the energies of steps, then, for answers that have settled,
 * the choice among candidates, tokens, text and events; their requests end or go on to the next answer.
 * The only place where an outcome changes anything, whatever the engine did to find it. Owns which answers
 * have settled and what they wait for; makes no call of the engine.
 */
import type { EnergyResult } from '../../energy/engine.js'
import { BasinError, toErrorMessage } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Scheduler } from '../../scheduler/scheduler.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { Of } from '../protocol.js'
import type { NewAnswer } from '../settled-answers.js'
import type { Answer } from './answers/answer.js'
import type { Candidate } from './answers/candidate.js'
import { answerRepresentation } from './requests/embedding.js'
import type { EventQueue } from './requests/event-queue.js'
import { LandscapeProbe, type ProbeQueue } from './requests/landscape-probe.js'
import { type CandidateRow, candidateOf, type RequestState } from './requests/request-state.js'
import type { RequestTable } from './requests/request-table.js'
import {
  type Closing,
  type Descent,
  emptyPlan,
  type Outcome,
  type Preview,
  type Restarted,
  type SettledReadout,
  type StepPlan,
  type Swapped,
  type TokensToScore,
  type Work,
} from './step-plan.js'
import { energySummary, givenLogprobs, stepEvent, takeTokens } from './requests/token-selection.js'

/** The tokens of a settled answer, before they become context. */
interface ChosenTokens {
  row: CandidateRow
  tokens: readonly number[]
  representation: Float32Array | undefined
  /** When the answer was read, in seconds of the clock. */
  at: number
}

/** What a settled answer waits for: energies to choose a candidate by, its readout, its tokens' energy. */
type Pending =
  | { waitsFor: 'closing'; rows: readonly CandidateRow[] }
  /** `descends`: the answer goes on afterwards; else it is read. */
  | { waitsFor: 'swap'; row: CandidateRow; descends: boolean }
  | { waitsFor: 'readout'; row: CandidateRow }
  | { waitsFor: 'score'; chosen: ChosenTokens }

export class OutputProcessor {
  private readonly settled = new Map<RequestState, Pending>()

  constructor(
    private readonly model: ModelConfig,
    private readonly tokenizer: Tokenizer,
    private readonly requests: RequestTable,
    private readonly scheduler: Pick<
      Scheduler,
      'bringIn' | 'commit' | 'follow' | 'forgetPages' | 'isPresent' | 'pin' | 'rest' | 'takeTurns'
    >,
    private readonly probes: Pick<ProbeQueue, 'add' | 'remove'>,
    private readonly events: EventQueue,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** Something has settled and can be read: the engine holds its context. */
  get hasSettled(): boolean {
    for (const [state, pending] of this.settled)
      if (this.isPresent(state) && isReadable(pending)) return true
    return false
  }

  /**
   * The calls that what has settled waits for. All closings and swaps come before any readout, so that answers which
   * settle together are read in one batch.
   */
  plan(): StepPlan {
    const close: CandidateRow[] = []
    const read: CandidateRow[] = []
    const swap: CandidateRow[] = []
    const score: TokensToScore[] = []
    for (const [state, pending] of this.settled) {
      if (!this.requests.has(state)) this.settled.delete(state)
      else if (!this.isPresent(state) || !isReadable(pending)) continue
      else if (pending.waitsFor === 'closing') close.push(...pending.rows.filter(isInSlot))
      else if (pending.waitsFor === 'swap') swap.push(pending.row)
      else if (pending.waitsFor === 'readout') read.push(pending.row)
      else score.push({ state, tokens: pending.chosen.tokens })
    }
    const more = close.length + swap.length > 0
    return { ...emptyPlan, close, swap, read: more ? [] : read, score }
  }

  update(plan: StepPlan, outcomes: readonly Outcome[]): void {
    for (const { queueSeconds, state } of plan.admitted) this.emitStarted(state, queueSeconds)
    for (const outcome of outcomes) this.apply(outcome)
  }

  /**
   * Candidates that have stopped leave the batch; with the last of them the answer has settled. `at`: in
   * seconds of the clock.
   */
  rest(state: RequestState, at: number): void {
    const { answer } = state
    if (!answer || state.accepted) return
    answer.candidates.forEach(({ stopped }, candidate) => {
      if (stopped) this.scheduler.rest(state.requestId, candidate)
    })
    if (this.settled.has(state)) return
    if (!answer.settled) {
      this.bringBack(state)
      return
    }
    answer.stopClock(at)
    const rows = answer
      .unclosed(this.model.energy.kind === 'residual')
      .map((index) => ({ state, index }))
    if (rows.length > 0) this.awaitClosing(state, rows)
    else this.choose(state)
  }

  /** An answer that goes on after its end gives the slot of its best descent back. */
  private bringBack(state: RequestState): void {
    if (!state.answer?.series?.hasDisplaced) return
    const row = { state, index: 0 }
    this.settled.set(state, { waitsFor: 'swap', row, descends: true })
    this.bringIn(state, [row])
  }

  private apply(outcome: Outcome): void {
    if (outcome.pagesLost) this.scheduler.forgetPages()
    for (const { error, states } of outcome.failures)
      for (const state of states) if (this.requests.has(state)) this.requests.fail(state, error)
    for (const { error, states } of outcome.declined)
      for (const { request } of states)
        this.events.push(request, { type: 'declined', error: toErrorMessage(error) }, this.now())
    for (const { saved, seconds, state } of outcome.thoughts)
      if (this.requests.has(state)) this.requests.save(state, saved, seconds)
    for (const { state, sum, tokens } of outcome.encoded) state.promptStates.add(sum, tokens)
    for (const { row, saved } of outcome.saved)
      if (this.requests.has(row.state)) candidateOf(row).candidate.saved = saved
    for (const state of outcome.begun)
      if (this.requests.has(state)) this.begin(state, outcome.begunAt)
    for (const restarted of outcome.restarted) this.restart(restarted)
    for (const { commits, row, saved } of outcome.changed) {
      const { kind, saves } = row.change
      const series = row.state.answer?.series
      if (saves !== undefined && saved) series?.keepState(saves, saved)
      if (kind === 'commit') series?.commit(row.index, commits)
    }
    for (const swapped of outcome.swapped) this.swap(swapped)
    for (const { reading, row } of outcome.begunReadings) {
      if (!this.requests.has(row.state)) continue
      const { answer, candidate } = candidateOf(row)
      answer.beginTerms(candidate, reading)
    }
    for (const state of outcome.represented) if (this.requests.has(state)) this.represent(state)
    for (const descent of outcome.descents) this.descend(descent, outcome.work.moves)
    for (const preview of outcome.previews) this.emitStep(preview)
    for (const { result, state, tokens } of outcome.scores)
      if (this.requests.has(state)) this.score(state, tokens, result)
    if (outcome.closings.length > 0) this.close(outcome.closings)
    for (const readout of outcome.readouts) this.read(readout)
    this.lookAround(outcome)
  }

  /** Its answer has begun, or goes on. One of several in a row is entered in the books only now. */
  private begin(state: RequestState, at: number): void {
    const answer = state.answer ?? this.follow(state)
    if (!answer.settled && !state.repeats) answer.startClock(at)
    this.rest(state, at)
  }

  private follow(state: RequestState): Answer {
    const slot = this.scheduler.follow(state.requestId)
    const answer = state.begin()
    for (const candidate of answer.candidates) candidate.slot = slot
    return answer
  }

  private descend({ at, before, readings, results, rows }: Descent, moves: Work['moves']): void {
    let rounds: Set<RequestState> | undefined
    rows.forEach((row, i) => {
      const result = results[i]
      if (!result || !this.requests.has(row.state)) return
      const { answer, candidate } = candidateOf(row)
      // It diverged in an earlier step of the same call.
      if (hasStopped(candidate)) return
      const move = answer.step(candidate, result, at, readings?.[i], before?.[i])
      if (move) moves[move]++
      if (hasStopped(candidate)) this.stop(row.state, at)
      if (answer.series) rounds = (rounds ?? new Set<RequestState>()).add(row.state)
    })
    for (const state of rounds ?? []) {
      state.answer?.endRound(at)
      if (state.answer) this.scheduler.takeTurns(state.requestId, state.answer.turns)
      this.stop(state, at)
    }
  }

  /** Candidates may have stopped in this step. */
  private stop(state: RequestState, at: number): void {
    if (state.answer?.stoppedByClock) this.requests.saveSoon(state)
    this.rest(state, at)
  }

  private close(closings: readonly Closing[]): void {
    for (const { result, row } of closings) {
      const { answer, candidate } = candidateOf(row)
      answer.close(candidate, result)
    }
    for (const state of new Set(closings.map(({ row }) => row.state))) {
      const pending = this.settled.get(state)
      const open = pending?.waitsFor === 'closing' ? pending.rows.filter(isOpen) : []
      if (open.length > 0) this.awaitClosing(state, open)
      else this.choose(state)
    }
  }

  private awaitClosing(state: RequestState, rows: readonly CandidateRow[]): void {
    this.settled.set(state, { waitsFor: 'closing', rows })
    this.bringIn(state, rows)
  }

  private bringIn(state: RequestState, rows: readonly CandidateRow[]): void {
    this.scheduler.bringIn(
      state.requestId,
      rows.map(({ index }) => index),
    )
  }

  /** The best candidate is to be read; without a finite energy there is none. */
  private choose(state: RequestState): void {
    const chosen = state.answer?.chosen()
    if (chosen) {
      const row = { state, index: chosen.index }
      this.settled.set(
        state,
        chosen.stored ? { waitsFor: 'swap', row, descends: false } : { waitsFor: 'readout', row },
      )
      this.bringIn(state, [row])
      return
    }
    this.settled.delete(state)
    const reason = 'the energy is not finite'
    this.requests.fail(state, new BasinError('engine_failed', { reason }))
  }

  /** What a descent has left behind is kept for those that follow. */
  private restart({ commits, readout, row, saved, standing }: Restarted): void {
    const { saves } = row.restart
    const { answer, candidate } = candidateOf(row)
    const { series } = answer
    if (!series || !this.requests.has(row.state)) return
    if (saves !== undefined && saved) series.keepState(saves, saved)
    if (standing) series.keepStanding(row.index, standing)
    if (readout) series.readout = readout
    candidate.commits = commits
  }

  private swap({ row, state: saved }: Swapped): void {
    const { state } = row
    const pending = this.settled.get(state)
    if (!this.requests.has(state) || pending?.waitsFor !== 'swap') return
    candidateOf(row).answer.swap(row.index, saved)
    if (pending.descends) {
      this.settled.delete(state)
      this.bringIn(state, [])
    } else this.settled.set(state, { waitsFor: 'readout', row })
  }

  private read({ at, point, readout, row }: SettledReadout): void {
    const { state } = row
    if (!this.requests.has(state)) return
    this.settled.delete(state)
    const { answer, dim } = this.model
    try {
      if (state.givenTokens.length > 0) {
        const logprobs = givenLogprobs(state, readout, answer.block, this.tokenizer)
        this.takeGiven(state, { logprobs }, row)
        return
      }
      const tokens = takeTokens(row, readout, answer.block, this.tokenizer)
      const representation = point && answerRepresentation(candidateOf(row).answer, point, dim)
      const chosen = { row, tokens, representation, at }
      if (state.request.tokenEnergy && tokens.length > 0)
        this.settled.set(state, { waitsFor: 'score', chosen })
      else this.accept(chosen)
    } catch (error) {
      // What cannot be made of one readout is the failure of that request alone.
      this.requests.fail(state, error)
    }
  }

  /** Of tokens that were given, or that the request has chosen. */
  private score(
    state: RequestState,
    tokens: readonly number[],
    { energy, parts }: EnergyResult,
  ): void {
    const pending = this.settled.get(state)
    this.settled.delete(state)
    if (!Number.isFinite(energy))
      this.requests.fail(
        state,
        new RangeError(`the energy of ${tokens.length} tokens is not finite`),
      )
    else if (pending?.waitsFor === 'score') this.accept(pending.chosen, energy)
    else this.takeGiven(state, { energy, ...parts })
  }

  /** The answer becomes text; its request ends, looks around it, or goes on to the next answer. */
  private accept({ at, representation, row, tokens }: ChosenTokens, tokenEnergy?: number): void {
    const { state } = row
    const { completion, request } = state
    const { answer, candidate } = candidateOf(row)
    state.accept(tokens)
    const ends = completion.ended || state.isFull || state.finishing
    if (ends) completion.flush()
    const certain = completion.take()
    state.termResults =
      candidate.terms && answer.terms?.finalResults(candidate.terms, completion.tokens, ends)
    const stopReason = candidate.stopped ?? 'finished'
    const settled: NewAnswer = {
      position: answer.shape.position,
      text: certain.text,
      tokens: certain.tokens,
      steps: answer.stepsOf(candidate),
      energy: energySummary(candidate),
      stopReason,
      seconds: answer.elapsed(at),
    }
    if (request.logprobs !== undefined) settled.logprobs = certain.logprobs
    if (tokenEnergy !== undefined) settled.tokenEnergy = tokenEnergy
    if (state.termResults) settled.terms = state.termResults
    if (representation) settled.representation = representation
    this.events.pushAnswer(request, settled, at)
    if (request.probe) {
      this.scheduler.pin(state.requestId)
      this.probes.add(new LandscapeProbe(row, request.probe))
    } else if (ends) this.requests.complete(state, row)
    else this.proceed(state, answer.stepsOf(candidate), stopReason === 'converged')
  }

  /**
   * The given tokens that the present answer stands for become context; the request ends with the last of
   * them if nothing is to follow. `row`: the candidate that was found in their place, if one was.
   */
  private takeGiven(state: RequestState, found: Partial<Of<'scored'>>, row?: CandidateRow): void {
    const chosen = row && candidateOf(row)
    const candidate = chosen?.candidate
    const scored = { type: 'scored' as const, ...state.takeGiven(), ...found }
    this.events.push(state.request, scored, this.now())
    const last = state.isFull && state.givenTokens.length === 0
    const steps = chosen ? chosen.answer.stepsOf(chosen.candidate) : 0
    const converged = candidate?.stopped === 'converged'
    if (!last && !state.finishing) {
      this.proceed(state, steps, converged)
      return
    }
    state.proceed(steps, converged)
    this.requests.complete(state)
  }

  private proceed(state: RequestState, steps: number, converged: boolean): void {
    this.scheduler.commit(state.requestId, state.proceed(steps, converged))
  }

  /** The prompt has been observed, and its mean state is all that was asked for. */
  private represent(state: RequestState): void {
    const { promptStates, promptTokens, request } = state
    const representation = promptStates.mean
    const scored = { type: 'scored' as const, text: '', tokens: promptTokens, representation }
    this.events.push(request, scored, this.now())
    this.requests.complete(state)
  }

  private lookAround({ probed }: Outcome): void {
    if (!probed?.done || !this.requests.has(probed.probe.state)) return
    const { chosen, lines, plane, state } = probed.probe
    this.probes.remove(probed.probe)
    this.events.push(state.request, { type: 'probed', lines, ...(plane && { plane }) }, this.now())
    this.requests.complete(state, chosen)
  }

  private emitStarted(state: RequestState, queueSeconds: number): void {
    const { promptText, promptTokens, request } = state
    const started = { type: 'started' as const, promptTokens, queueSeconds }
    const event = request.echo ? { ...started, promptText } : started
    this.events.push(request, event, state.submittedAt + queueSeconds)
  }

  private emitStep({ readout, row }: Preview): void {
    if (!this.requests.has(row.state)) return
    const event = stepEvent(row, readout, this.model.answer.block, this.tokenizer)
    this.events.push(row.state.request, event, this.now())
  }

  private isPresent(state: RequestState): boolean {
    return this.requests.has(state) && this.scheduler.isPresent(state.requestId)
  }
}

const isInSlot = (row: CandidateRow): boolean => candidateOf(row).candidate.slot !== undefined

/** It waits for its closing energy. */
const isOpen = (row: CandidateRow): boolean => candidateOf(row).candidate.closed === undefined

/** What it waits for can be computed now, at least in part. */
function isReadable(pending: Pending): boolean {
  if (pending.waitsFor === 'score') return true
  return pending.waitsFor === 'closing' ? pending.rows.some(isInSlot) : isInSlot(pending.row)
}

const hasStopped = ({ stopped }: Candidate): boolean => stopped !== undefined

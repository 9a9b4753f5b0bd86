/**
 * The two records that travel through a step: the plan, from schedule to execute, and the outcome, from
 * execute to update. Data only: nothing here decides, computes or changes a request.
 */
import type { EnergyResult, MultiStepRow, Readout, StepResult } from '../../energy/engine.js'
import type { TickStats } from '../protocol.js'
import type { TermReading } from './answers/answer-terms.js'
import type { SavedAnswer } from './answers/candidate.js'
import type { Clamping } from './requests/clamp.js'
import type { Change, Restart } from './answers/descent-series.js'
import type { LandscapeProbe } from './requests/landscape-probe.js'
import type { CandidateRow, RequestState } from './requests/request-state.js'

/** Tokens [from, to) of a context that are observed; none only for a context that begins empty. */
export interface Observation {
  state: RequestState
  contextId: number
  pages: readonly number[]
  from: number
  to: number
}

/** Tokens after the context of a request whose energy is wanted: given ones, or those it has chosen. */
export interface TokensToScore {
  state: RequestState
  tokens: readonly number[]
}

/** A candidate that leaves a slot, or enters it. */
export interface SlotMove extends CandidateRow {
  slot: number
  /** What the candidate was when it left its last slot; without it, it begins. */
  saved?: SavedAnswer
}

/** Answers of one token each that a request takes in a single call. */
export interface AnswersInARow {
  state: RequestState
  row: MultiStepRow
}

/** What one batch on the engine is to do, in the order of these fields. */
export interface StepPlan {
  /** Requests whose thoughts are saved, with nothing else in the batch. */
  readonly save: readonly RequestState[]
  /** Candidates whose answers are saved, because others need their slots. */
  readonly moveOut: readonly SlotMove[]
  /** Contexts that the engine lets go of. */
  readonly release: readonly number[]
  /** Requests that were admitted, and the seconds that they had waited. */
  readonly admitted: readonly { state: RequestState; queueSeconds: number }[]
  readonly observe: readonly Observation[]
  /** Candidates that begin or go on, since they have slots and their contexts are observed. */
  readonly moveIn: readonly SlotMove[]
  /** Positions of answers that clients fix or open: before everything below. */
  readonly clamp: readonly Clamping[]
  /** Candidates that begin a new descent in place of one that is over. */
  readonly restart: readonly RestartRow[]
  /** Candidates whose positions are committed or opened. */
  readonly change: readonly ChangeRow[]
  /** Candidates that change places with the descent that their answer has stored. */
  readonly swap: readonly CandidateRow[]
  /** Their prompts are observed, which was all they asked for. */
  readonly represent: readonly RequestState[]
  /** Candidates that take `steps` steps, one after the other, in one call. */
  readonly descend: readonly CandidateRow[]
  readonly steps: number
  readonly score: readonly TokensToScore[]
  /** Candidates whose last state has no energy yet, which the choice among them needs. */
  readonly close: readonly CandidateRow[]
  /** Chosen candidates of answers that have settled. */
  readonly read: readonly CandidateRow[]
  /** Takes part with a few points. */
  readonly probe: LandscapeProbe | undefined
  /** In place of everything above. */
  readonly answersInARow: AnswersInARow | undefined
}

export const emptyPlan: StepPlan = Object.freeze({
  save: [],
  moveOut: [],
  release: [],
  admitted: [],
  observe: [],
  moveIn: [],
  clamp: [],
  restart: [],
  change: [],
  swap: [],
  represent: [],
  descend: [],
  steps: 1,
  score: [],
  close: [],
  read: [],
  probe: undefined,
  answersInARow: undefined,
})

/** Whether a plan has anything to do, the points of a probe not counted. */
export const hasWork = (plan: StepPlan): boolean =>
  plan.observe.length > 0 ||
  plan.descend.length > 0 ||
  plan.read.length > 0 ||
  plan.close.length > 0 ||
  plan.swap.length > 0 ||
  plan.score.length > 0 ||
  plan.admitted.length > 0 ||
  plan.moveIn.length > 0 ||
  plan.save.length > 0 ||
  plan.answersInARow !== undefined

/** A call of the engine that failed, and the requests that took part in it. */
export interface Failure {
  states: readonly RequestState[]
  error: unknown
}

/** Observed tokens of a text whose states were asked for; `sum`: of all of them, [D]. */
export interface EncodedTokens {
  state: RequestState
  tokens: number
  sum: Float32Array
}

/** A new descent of a candidate. */
export interface RestartRow extends CandidateRow {
  readonly restart: Restart
}

/** What the engine has given for a new descent: what the old one left behind, where that is kept. */
export interface Restarted {
  row: RestartRow
  saved: Uint8Array | undefined
  standing: Float32Array | undefined
  readout: Float32Array | undefined
  /** Positions that are committed at the start of the new one: [K]. */
  commits: readonly number[] | undefined
}

/** Positions of a candidate are committed or opened. */
export interface ChangeRow extends CandidateRow {
  readonly change: Change
}

export interface Changed {
  row: ChangeRow
  saved: Uint8Array | undefined
  /** [K]; undefined where there was none to commit. */
  commits: readonly number[] | undefined
}

/** A candidate has changed places with the stored descent of its answer; `state`: its own, saved. */
export interface Swapped {
  row: CandidateRow
  state: Uint8Array
}

/** A step of every row; `at`: when it was over, in seconds of the clock. */
export interface Descent {
  rows: readonly CandidateRow[]
  results: readonly StepResult[]
  /** By row, of those whose requests have terms. */
  readings?: readonly (TermReading | undefined)[]
  /** By row, the states before the step, of those whose steps may be undone. */
  before?: readonly (Uint8Array | undefined)[]
  at: number
}

/** Where a candidate begins, read for the terms of its request. */
export interface BegunReading {
  row: CandidateRow
  reading: TermReading
}

/** The present state of an answer in descent, read out for a `step` event. */
export interface Preview {
  row: CandidateRow
  readout: Readout
}

/** The energy of tokens after the context of a request. */
export interface Score {
  state: RequestState
  tokens: readonly number[]
  result: EnergyResult
}

/** The states of the candidates of a request that are in slots, by their index. */
export interface SavedRequest {
  state: RequestState
  saved: readonly (Uint8Array | undefined)[]
  seconds: number
}

/** The energy of the last state of a candidate. */
export interface Closing {
  row: CandidateRow
  result: EnergyResult
}

/** The readout of a settled answer. */
export interface SettledReadout {
  row: CandidateRow
  readout: Readout
  /** [K, D], if a representation was asked for. */
  point?: Float32Array
  /** When it was read, in seconds of the clock. */
  at: number
}

/** What one batch found, or one of several answers in a row: as if that answer had been batches alone. */
export interface Outcome {
  failures: readonly Failure[]
  /** Clampings that cannot be done; their requests go on. */
  declined: readonly Failure[]
  /** A call that was to fill pages failed: they may hold anything. */
  pagesLost: boolean
  thoughts: readonly SavedRequest[]
  encoded: readonly EncodedTokens[]
  /** Candidates that have left their slots, and what they were. */
  saved: readonly { row: CandidateRow; saved: SavedAnswer }[]
  /** Answers that began or went on, and when, in seconds of the clock. */
  begun: readonly RequestState[]
  /** Of those whose requests have terms. */
  begunReadings: readonly BegunReading[]
  begunAt: number
  restarted: readonly Restarted[]
  changed: readonly Changed[]
  swapped: readonly Swapped[]
  /** Requests whose whole prompts have been encoded. */
  represented: readonly RequestState[]
  descents: readonly Descent[]
  previews: readonly Preview[]
  scores: readonly Score[]
  closings: readonly Closing[]
  readouts: readonly SettledReadout[]
  /** `done`: it has looked at its last point. */
  probed: { probe: LandscapeProbe; done: boolean } | undefined
  work: Work
}

/** What an outcome adds to the account of the steps since the last report. */
export interface Work {
  observedTokens: number
  ticks: TickStats['ticks'][number][]
  /** Descents that gave their slots to others. */
  restarts: TickStats['restarts'][number][]
  moves: TickStats['moves']
  /** Of the engine, by phase. */
  seconds: TickStats['seconds']
}

export const noWork = (): Work => ({
  observedTokens: 0,
  ticks: [],
  restarts: [],
  moves: { accepted: 0, rejected: 0 },
  seconds: { observe: 0, descend: 0, read: 0 },
})

const none: readonly never[] = []

export const emptyOutcome = (): Outcome => ({
  failures: none,
  declined: none,
  pagesLost: false,
  thoughts: none,
  encoded: none,
  saved: none,
  begun: none,
  begunReadings: none,
  begunAt: 0,
  restarted: none,
  changed: none,
  swapped: none,
  represented: none,
  descents: none,
  previews: none,
  scores: none,
  closings: none,
  readouts: none,
  probed: undefined,
  work: noWork(),
})

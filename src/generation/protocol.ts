/**
 * What crosses the thread boundary between the server and a generation worker. All of it is plain
 * data for structured clone. Text on this side of it, tokens on the other.
 */
import type { ErrorMessage } from '../errors.js'
import type { Interrupt } from '../energy/interrupt.js'
import type { EngineCapacity, EngineInfo } from '../energy/engine.js'
import type { ModelConfig } from '../model/config.js'
import type { Budget, StopReason } from '../refine/budget.js'
import type { Sampling } from '../refine/sampling.js'
import type { ChatMessage } from '../tokenizer/chat-template.js'
import type { ReportAck } from './report-ack.js'

/** One sequence to be completed: one choice of one request. */
export interface EngineRequest {
  /** Unique among running jobs. */
  id: string
  /** Admission takes turns between clients (an API key, an address). */
  client: string
  prompt: string | readonly number[]
  /** Known tokens with blanks between them: clamped positions of the answer. */
  template?: string
  /**
   * What follows the prompt whatever the model would say: read and judged token by token, before the
   * completion begins. `energy`: by the energy of the given answer, without a step. `logprobs`: by
   * the answer that the budget's descent finds in its place. `param`: what errors call it. Not with
   * a template.
   */
  given?: { answer: string | readonly number[]; by: 'energy' | 'logprobs'; param: string }
  /** Say the text of the prompt, `given` included, when it starts. */
  echo?: boolean
  /** Report the energy of each settled answer's tokens: what `given` by energy would say of them. */
  tokenEnergy?: boolean
  /**
   * As a vector too: `observed`, the mean state of the prompt's tokens, in a `scored` event;
   * `answer`, where each answer settled, in its `settled` event.
   */
  represent?: 'observed' | 'answer'
  /** When its first answer is settled, look around it: a `probed` event, and the end. */
  probe?: ProbeRequest
  /** 0 only with `given`, or to represent what is observed. */
  maxTokens: number
  sampling: Sampling
  /** Texts that end the completion; they are not part of it. At most 4. */
  stop: readonly string[]
  /** Alternatives reported per token, 0..20; absent: no log-probabilities. */
  logprobs?: number
  budget: Budget
  /** Send a `step` event for every descent step. */
  reportSteps: boolean
  /** Nobody looks at its events before the last: they may come late and together. */
  buffered?: boolean
  /** After it finished, keep the last answer so that `extend` can go on from it. */
  hold: boolean
}

/** Lines through a settled answer along which energies are wanted. */
export interface ProbeRequest {
  directions: readonly ('candidates' | 'gradient' | 'random')[]
  /** Random directions. */
  random: number
  /** Of each line, at least 2. */
  points: number
  /** Lines go from -reach to reach. */
  reach: number
  /** A picture of the descent too. */
  plane?: PlaneRequest
}

export interface PlaneRequest {
  /** Along each side of the grid, at least 2. */
  points: number
}

/** The energy on the plane in which most of a descent lies, about its end. */
export interface ProbePlane {
  /** Of the columns and of the rows: distances in the space of states. */
  x: number[]
  y: number[]
  /** [rows][columns] */
  energies: number[][]
  /** The descent laid onto the plane, from its start to its end. */
  path: { x: number; y: number; energy: number }[]
  /** Share of the path's squared distances from its end that lies in the plane. */
  explained: number
}

export interface ProbeLine {
  direction: 'candidate' | 'gradient' | 'random'
  /** Which one the line goes to. */
  candidate?: number
  /** From the centre to t = 1: to that candidate; else as far as the centre is from the origin. */
  length: number
  /** t */
  at: number[]
  energies: number[]
}

export type Control =
  | { type: 'cancel' }
  /** Settle with the best answer so far, and end the job. */
  | { type: 'finish' }
  /** Raise the budget of the answer in descent, or reopen the held one. */
  | { type: 'extend'; steps?: number; seconds?: number }
  | { type: 'pause' }
  | { type: 'resume' }
  /**
   * Fix a position of the answer in descent, or of the held one, to a token; the mark of a blank opens
   * it. `position`: in the completion, in tokens. Answered by `declined` where it cannot be.
   */
  | { type: 'clamp'; position: number; text: string }

export interface TokenAlternative {
  token: string
  id: number
  probability: number
}

/** What a position of an answer in descent reads: at most as many tokens as `logprobs`, at least one. */
export interface StepPosition {
  tokens: readonly string[]
  /** To four decimals. */
  probabilities: readonly number[]
}

export interface EnergySummary {
  initial: number
  final: number
  best: number
}

export interface Refinement {
  /** Steps of the chosen candidate, summed over the answers of the completion. */
  steps: number
  /** Of the latest answer. */
  energy: EnergySummary
  candidates: number
  /** True if every answer ended by convergence. */
  converged: boolean
  /** Of the latest answer. */
  stop_reason: StopReason
  disagreement?: number
  doubt?: number
}

export interface TokenLogprob {
  token: string
  logprob: number
  top: readonly { token: string; logprob: number }[]
}

/** Answers of one request that became text, one entry per answer in each column (settled-answers.ts). */
export interface SettledColumns {
  positions: readonly number[]
  texts: readonly string[]
  tokens: readonly number[]
  steps: readonly number[]
  initial: readonly number[]
  final: readonly number[]
  best: readonly number[]
  stopReasons: readonly StopReason[]
  seconds: readonly number[]
  agos: readonly number[]
  logprobs?: readonly (readonly TokenLogprob[] | undefined)[]
  tokenEnergies?: readonly (number | undefined)[]
  representations?: readonly (Float32Array | undefined)[]
}

/** `ago`: seconds between an event and the report that brings it; absent until it is reported. */
export type RequestEvent =
  | {
      type: 'started'
      promptTokens: number
      /** From submission to admission. */
      queueSeconds: number
      /** If `echo` was asked for. */
      promptText?: string
      ago?: number
    }
  | {
      /** Up to K tokens of `given` have been read. */
      type: 'scored'
      text: string
      tokens: number
      /** By energy: of these tokens after all before them, and its parts if it has any. */
      energy?: number
      disagreement?: number
      doubt?: number
      logprobs?: readonly TokenLogprob[]
      /** [D], if `represent` asked for what is observed. */
      representation?: Float32Array
    }
  | { type: 'probed'; lines: readonly ProbeLine[]; plane?: ProbePlane }
  | {
      type: 'step'
      /** Index of the answer's first position in the completion, in tokens. */
      position: number
      /** 1-based. */
      step: number
      candidate: number
      energy: number
      bestEnergy: number
      gradientNorm: number
      disagreement?: number
      doubt?: number
      /** Present reading of the answer. */
      text: string
      /** Of the first moving position. */
      top: readonly TokenAlternative[]
      /** Of every position, if log-probabilities were asked for: most probable first. */
      positions?: readonly StepPosition[]
    }
  | ({
      /** The answers of the request that settled since its event before, in their order. */
      type: 'settled'
    } & SettledColumns)
  | {
      type: 'finished'
      finishReason: 'stop' | 'length' | 'cancelled'
      /** The whole completion. */
      text: string
      usage: { promptTokens: number; completionTokens: number }
      refinement: Refinement
    }
  /** What a control asked for cannot be done; the job goes on. */
  | { type: 'declined'; error: ErrorMessage }
  | { type: 'failed'; error: ErrorMessage }

/** The events of one type. */
export type Of<T extends RequestEvent['type']> = Extract<RequestEvent, { type: T }>

/** Of the ticks since the last report: what the metrics need and nothing more. */
export interface TickStats {
  /**
   * One per call in which answers descended: how many, how many steps they took one after the other, and
   * the seconds of one.
   */
  ticks: readonly { rows: number; steps: number; seconds: number }[]
  /** Seconds of engine time of all of them, by phase. */
  seconds: { observe: number; descend: number; read: number }
  observedTokens: number
  running: number
  waiting: number
  paused: number
  held: number
  slotsUsed: number
  pagesUsed: number
  /** Prompt tokens looked for among the pages of earlier contexts, and those found there. */
  prefixQueries: number
  prefixHits: number
  /** Requests that gave up their pages to others and wait for new ones. */
  preemptions: number
}

export type ToWorker =
  | { type: 'submit'; request: EngineRequest }
  | { type: 'control'; id: string; control: Control }
  | { type: 'tokenize'; id: number; text: string }
  | { type: 'detokenize'; id: number; tokens: readonly number[] }
  | { type: 'chat'; id: number; messages: readonly ChatMessage[] }
  /** The last `events` message has been dealt with: sent to a worker that waits for it (report-ack.ts). */
  | { type: 'acknowledged' }
  | { type: 'close' }

export type FromWorker =
  | {
      type: 'ready'
      model: ModelConfig
      engine: EngineInfo
      capacity: EngineCapacity
      memory: number
      /** It has a chat template. */
      chat: boolean
    }
  | {
      type: 'events'
      events: readonly { id: string; event: RequestEvent }[]
      /** Held jobs that are gone: expired, cancelled, or evicted for others. */
      released: readonly string[]
      stats: TickStats
    }
  | { type: 'tokens'; id: number; tokens: readonly number[] }
  | { type: 'text'; id: number; text: string }
  | { type: 'refused'; id: number; error: ErrorMessage }
  | { type: 'fatal'; error: ErrorMessage }
  | { type: 'closed' }

export const prefixSharings = ['on', 'off'] as const

/** How a worker is started: which checkpoint, which engine, which limits. */
export interface WorkerOptions {
  modelPath: string
  engine: string
  threads: number
  /** float32 if absent; the others need the native engine. */
  weights?: string
  /** What a residual energy descends along; as the model says if absent. */
  refiner?: string
  slots: number
  /** Cache pages; each holds `capacity.pageSize` positions. */
  pages: number
  /** Contexts of one client that begin alike share pages, where the engine can; `on` if absent. */
  prefixSharing?: (typeof prefixSharings)[number]
  /** Most requests that wait for admission. */
  maxQueue: number
  /** Most tokens observed per tick, so that a long prompt does not stall the others. */
  prefillChunk: number
  /** Seconds a finished answer may be extended. */
  holdSeconds: number
  /** Seconds an answer may be paused; then it is finished with the best so far. */
  pauseSeconds: number
  /** Seconds that a worker may not turn before it is ended and started anew; 0: for ever. */
  watchdogSeconds: number
}

/** What a worker thread is given. `interrupt`: raised before each message to it but `acknowledged`. */
export type WorkerData = WorkerOptions & { interrupt: Interrupt; reportAck: ReportAck }

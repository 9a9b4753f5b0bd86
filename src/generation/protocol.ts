/**
 * What crosses the boundary between the server's thread and the thread of a worker: requests and controls
 * in, events and accounts out. All of it is plain data for structured clone. Texts may cross it either way;
 * only the worker turns them into tokens.
 */
import type { ErrorMessage } from '../errors.js'
import type { Interrupt } from '../energy/interrupt.js'
import type { EngineCapacity, EngineInfo } from '../energy/engine.js'
import type { ModelConfig } from '../model/config.js'
import type { Budget, StopReason } from '../refine/budget.js'
import type { RestartReason } from '../refine/restarts.js'
import type { Sampling } from '../refine/sampling.js'
import type { TermResult } from '../refine/terms/term.js'
import type { ChatAbility, ChatMessage, Tool } from '../tokenizer/chat-template.js'
import type { Grammar } from '../tokenizer/grammar/grammar.js'
import type { ReportAck } from './report-ack.js'

/** One text to be completed: one choice of a client's request. */
export interface EngineRequest {
  /** Unique among the requests that run. */
  id: string
  /** Whoever asks (an API key, an address): clients are admitted in turns. */
  client: string
  prompt: string | readonly number[]
  /** Known tokens, which are clamped positions of the answer, with blanks between them. */
  template?: string
  /** What errors call the template; `template` if absent. */
  templateParam?: string
  /**
   * Tokens that follow the prompt whatever the model would say, and are scored before the completion
   * begins. `energy`: by the energy of the given answer, without a step. `logprobs`: by the answer that the
   * budget's descent finds in its place. `param`: what errors call it. Not with a template.
   */
  given?: { answer: string | readonly number[]; by: 'energy' | 'logprobs'; param: string }
  /** Report the text of the prompt, `given` included, when the request starts. */
  echo?: boolean
  /** Report the energy of each settled answer's tokens: what `given` by energy would say of them. */
  tokenEnergy?: boolean
  /**
   * Report a vector too. `observed`: the mean state of the prompt's tokens, in a `scored` event. `answer`:
   * the mean state in which each answer settled, in its `settled` event.
   */
  represent?: 'observed' | 'answer'
  /** Look at the landscape around the first answer when it has settled, report it, and end. */
  probe?: ProbeRequest
  /** May be 0 with `given`, and where the states of the prompt are represented. */
  maxTokens: number
  sampling: Sampling
  /** What the completion must match; it ends where nothing more may follow. Not with a template. */
  grammar?: Grammar
  /** Texts that end the completion, which does not contain them. At most 4. */
  stop: readonly string[]
  /** How many alternatives are reported per token, 0..20. Absent: no log-probabilities. */
  logprobs?: number
  budget: Budget
  /** Terms that are added to the energy. Absent: none. Not with `given`. */
  terms?: readonly TermRequest[]
  /** Send a `step` event for every descent step. */
  reportSteps: boolean
  /** Nobody reads its events before the last one, so they may come late and together. */
  buffered?: boolean
  /** Keep the last answer after the end, so that `extend` can go on from it. */
  hold: boolean
  /**
   * Report a thought before anything is seen of what is no function of the seed: a control has changed its
   * course, or its time was over. Between these, a run from the last thought gives the same events again.
   */
  saves?: boolean
  /** Go on from this thought of the same request, and not from the prompt. */
  from?: {
    /** Of a `saved` event. */
    thought: Uint8Array
    /**
     * Readers have seen events that come again. Until the control `repeated` no clock runs, so that they do not
     * take the time of the answer twice.
     */
    repeats: boolean
  }
}

/** A term of a composed energy (docs/composition.md). Positions are those of the completion, in tokens. */
export type TermRequest = {
  /** Energy for each unit of the term. */
  weight: number
  /** No answer counts that does not satisfy it; absent: false. */
  required?: boolean
  /** The largest value that satisfies it. */
  tolerance?: number
} & TermRule

export type TermRule =
  | { type: 'distinct'; positions: readonly (readonly number[])[] }
  | { type: 'sum'; positions: readonly number[]; equals: number }
  | { type: 'compare'; less: number; than: number }
  /** `tokens`: texts of one token each. */
  | { type: 'token'; position: number; tokens: readonly string[]; not?: boolean }
  | { type: 'contains'; text: string }
  /** `token`: a text of one token. */
  | { type: 'count'; token: string; equals: number }
  | { type: 'similar'; text: string }
  | {
      type: 'model'
      /** By which requests call it. */
      model: string
      /** Where it is, as whoever serves it says on submission. */
      directory?: string
      /** What its answer follows; absent: the prompt of the request. */
      prompt?: string
      /** What is given in its answer; absent: what is given in this one. */
      template?: string
    }

/** Lines through a settled answer along which energies are wanted. */
export interface ProbeRequest {
  directions: readonly ('candidates' | 'gradient' | 'random')[]
  /** How many random directions. */
  random: number
  /** Points of each line, at least 2. */
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
  /** The candidate that the line goes to. */
  candidate?: number
  /** Distance from the centre to t = 1: that of the candidate, else that of the centre from the origin. */
  length: number
  /** t of each point. */
  at: number[]
  energies: number[]
}

export type Control =
  | { type: 'cancel' }
  /** Settle with the best answer so far, and end the request. */
  | { type: 'finish' }
  /** Raise the budget of the answer in descent, or reopen the held one. */
  | { type: 'extend'; steps?: number; seconds?: number }
  | { type: 'pause' }
  | { type: 'resume' }
  /** Report a thought: answered by `saved`, between two steps. */
  | { type: 'save' }
  /** All events have come again that readers had seen: see `EngineRequest.from`. */
  | { type: 'repeated' }
  /**
   * Fix a position of the answer in descent, or of the held one, to a token; the mark of a blank opens
   * it. `position`: in the completion, in tokens. Answered by `declined` where it cannot be.
   */
  | { type: 'clamp'; position: number; text: string }

/** What changes the course of a request, and with it what would come of its seed. */
export type Steer = Extract<Control, { type: 'finish' | 'extend' }>

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
  /** Steps of the chosen candidates, or of all descents where there are restarts, summed over the answers. */
  steps: number
  /** Energies of the latest answer. */
  energy: EnergySummary
  candidates: number
  /** Descents of all answers that took the place of others, if the budget has restarts. */
  restarts?: number
  /** Every answer ended by convergence. */
  converged: boolean
  /** Why the latest answer ended. */
  stop_reason: StopReason
  disagreement?: number
  doubt?: number
  /** Of the tokens of the whole completion so far, in the order of the request; absent: there are none. */
  terms?: TermResult[]
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
  terms?: readonly (readonly TermResult[] | undefined)[]
  representations?: readonly (Float32Array | undefined)[]
}

/** What happens to a request. `ago`: seconds between an event and the report that brings it. */
export type RequestEvent =
  | {
      type: 'started'
      promptTokens: number
      /** From submission to admission. */
      queueSeconds: number
      /** If the request asked for `echo`. */
      promptText?: string
      ago?: number
    }
  | {
      /** Up to K tokens of `given` have been scored, or the prompt has been represented. */
      type: 'scored'
      text: string
      tokens: number
      /** Of these tokens after all before them, and its parts if it has any. */
      energy?: number
      disagreement?: number
      doubt?: number
      logprobs?: readonly TokenLogprob[]
      /** [D], if the request asked for the states of its prompt. */
      representation?: Float32Array
    }
  | { type: 'probed'; lines: readonly ProbeLine[]; plane?: ProbePlane }
  | {
      type: 'step'
      /** Index of the first position of the answer in the completion, in tokens. */
      position: number
      /** 1-based. */
      step: number
      candidate: number
      /** 0 in the first descent of a candidate; then 1, 2, ... in the order in which new ones began. */
      restart?: number
      /** How many positions are committed, where the energy leaves them out. */
      committed?: number
      energy: number
      bestEnergy: number
      gradientNorm: number
      disagreement?: number
      doubt?: number
      /** Of the answer as it would be read now, in the order of the request. */
      terms?: readonly TermResult[]
      /** The answer as it would be read now. */
      text: string
      /** The most probable tokens of the first position in descent. */
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
      /** `unsatisfied`: a required term is not satisfied by what was found. */
      finishReason: 'stop' | 'length' | 'unsatisfied' | 'cancelled'
      /** The whole completion. */
      text: string
      usage: { promptTokens: number; completionTokens: number }
      refinement: Refinement
    }
  | {
      /** All of the request as it is after the events before this one. */
      type: 'saved'
      /** For `EngineRequest.from`: kilobytes, of this model and kind of engine. */
      thought: Uint8Array
      /** Steps of all its answers so far. */
      steps: number
      /** How many `finish` and `extend` are in it, of all that the request has had. */
      steered: number
      /** Of the present answer, with all by which it was extended. */
      limits: Pick<Budget, 'maxSteps' | 'maxSeconds'>
      /** That its engine took to save it. */
      seconds: number
    }
  /** What a control asked for cannot be done; the job goes on. */
  | { type: 'declined'; error: ErrorMessage }
  | { type: 'failed'; error: ErrorMessage }

/** The events of one type. */
export type Of<T extends RequestEvent['type']> = Extract<RequestEvent, { type: T }>

/** The account of the steps since the last report: what the metrics need and nothing more. */
export interface TickStats {
  /**
   * One entry per call in which candidates descended: how many rows, how many steps each took one after the
   * other, and the seconds of one step.
   */
  ticks: readonly { rows: number; steps: number; seconds: number }[]
  /** Descents that gave their slots to new ones of the same answer: why, and the steps that they had taken. */
  restarts: readonly { reason: RestartReason; steps: number }[]
  /** Steps that Metropolis kept, and undid. */
  moves: { accepted: number; rejected: number }
  /** Seconds that the engine computed, by phase. */
  seconds: { observe: number; descend: number; read: number }
  observedTokens: number
  running: number
  waiting: number
  paused: number
  held: number
  slotsUsed: number
  pagesUsed: number
  /** Prompt tokens that were looked up among the pages of earlier contexts, and those found there. */
  prefixQueries: number
  prefixHits: number
  /** How often a request gave up its pages to others. */
  preemptions: number
  /** How many answers were saved because others needed their slots. */
  movedOut: number
}

/** What a thread for texts is asked (core/text-worker.ts). `param`: what errors call the text. */
export type TextTask =
  | { type: 'encode'; text: string; param: string }
  | { type: 'decode'; tokens: readonly number[] }
  | { type: 'chat'; messages: readonly ChatMessage[]; tools?: readonly Tool[] }

export type TextReply = { tokens?: Int32Array; text?: string } | { error: ErrorMessage }

export type ToWorker =
  | { type: 'submit'; request: EngineRequest }
  | { type: 'control'; id: string; control: Control }
  /** Is answered in order: whoever has the answer knows that all messages before were looked at. */
  | { type: 'ping'; id: number }
  /** Answered as a ping is, with what is wrong with the request, which is not computed. */
  | { type: 'check'; id: number; request: EngineRequest }
  /** The last report has been dealt with; sent only to a worker that waits for it (report-ack.ts). */
  | { type: 'acknowledged' }
  | { type: 'close' }

export type FromWorker =
  | ({
      type: 'ready'
      model: ModelConfig
      engine: EngineInfo
      capacity: EngineCapacity
      memory: number
      /** `EnergyEngine.identity`. */
      identity: Uint8Array
    } & ChatAbility)
  | {
      type: 'events'
      events: readonly { id: string; event: RequestEvent }[]
      /** Held requests that are gone: expired, cancelled, or evicted for others. */
      released: readonly string[]
      stats: TickStats
    }
  | { type: 'pong'; id: number; error?: ErrorMessage }
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
  /** As `weights`, of the context cache. */
  cacheType?: string
  /** What a residual energy descends along; as the model says if absent. */
  refiner?: string
  slots: number
  /** Pages of the context cache; each holds `capacity.pageSize` positions. */
  pages: number
  /** Whether contexts of one client that begin alike share pages, where the engine can; `on` if absent. */
  prefixSharing?: (typeof prefixSharings)[number]
  /** Most requests that wait for admission. */
  maxQueue: number
  /** Most prompt tokens observed per step, so that a long prompt does not stall the others. */
  prefillChunk: number
  /** Seconds a finished answer may be extended. */
  holdSeconds: number
  /** Seconds an answer may be paused; then it is finished with the best so far. */
  pauseSeconds: number
  /** Seconds after which a worker that does not answer is ended and started anew; 0: never. */
  watchdogSeconds: number
}

/** What a worker thread is given. `interrupt`: raised before each message to it but `acknowledged`. */
export type WorkerData = WorkerOptions & { interrupt: Interrupt; reportAck: ReportAck }

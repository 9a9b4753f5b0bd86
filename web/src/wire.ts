/** What the server says and is told: the part of docs/http.md and docs/socket.md that the page uses. */

import type {
  EnergyTerm,
  Landscape as WholeLandscape,
  TemplateLayout,
} from '../../src/client/types.js'

export type { EnergyTerm }
export type Layout = TemplateLayout

export interface Template {
  blank: string
  length: number | null
  example: string | null
  layout: Layout | null
}

export interface Model {
  id: string
  description: string
  /** Its files can be fetched, so that a browser can compute with it. */
  files?: boolean
  capabilities: {
    context_length: number
    vocab_size: number
    block: number
    dimensions: number
    endpoints: string[]
    max_steps: number
    max_seconds: number
    max_candidates: number
    steps: number
    energy_target: number | null
    energy: string
    start: string
    template: Template | null
  }
}

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export type Effort = (typeof efforts)[number]

export interface Refinement {
  max_steps?: number
  candidates?: number
  noise?: number
  noise_steps?: number
  /** Descents that are over give way to new ones; null: not even where the effort would have it. */
  restarts?: { keep: number } | null
}

/** The fields that a socket's `start` and a completion share. */
export interface Request {
  model: string
  prompt?: string
  template?: string
  max_tokens?: number
  temperature?: number
  seed?: number
  reasoning_effort?: Effort
  refinement?: Refinement
  energy_terms?: EnergyTerm[]
}

/** What a step says of a term. */
export interface TermValue {
  type: string
  value: number
  satisfied: boolean
}

/** What one position reads, most probable first. */
export interface Position {
  tokens: string[]
  probabilities: number[]
}

export interface StepEvent {
  type: 'step'
  position: number
  step: number
  candidate: number
  /** Of the descent of this candidate, where they begin anew: 0 in its first. */
  restart?: number
  energy: number
  best_energy: number
  gradient_norm: number
  disagreement?: number
  doubt?: number
  terms?: TermValue[]
  text: string
  top: { token: string; probability: number }[]
  positions?: Position[]
}

export interface EnergySummary {
  initial: number
  final: number
  best: number
}

export interface CommittedEvent {
  type: 'committed'
  position: number
  text: string
  steps: number
  energy: EnergySummary
  stop_reason: string
}

export interface FinishedEvent {
  type: 'finished'
  finish_reason: string
  text: string
  refinement: { steps: number; energy: EnergySummary; stop_reason: string }
}

export interface WireError {
  message: string
  code: string
  param: string | null
}

export type ServerEvent =
  | { type: 'started'; id: string }
  | StepEvent
  | CommittedEvent
  | FinishedEvent
  | { type: 'error'; error: WireError }

export type ClientFrame =
  | ({ type: 'start'; hold: boolean; logprobs: number } & Request)
  | { type: 'extend'; steps: number }
  | { type: 'finish' | 'pause' | 'resume' | 'cancel' }
  | { type: 'clamp'; position: number; text: string }

export type Landscape = Pick<WholeLandscape, 'text' | 'plane'>

export interface ModelState {
  id: string
  state: 'loaded' | 'loading' | 'leaving' | 'unloaded'
  bytes: number
  idle_seconds: number
}

/** One answer, as the page follows and steers it. */
export interface Channel {
  /** `socket`: everything works, as it does in the tab; `stream`: no pause. */
  readonly kind: 'socket' | 'stream'
  tell(frame: ClientFrame): void
  close(): void
}

export interface Listener {
  event(event: ServerEvent): void
  /** It ended before the answer did, and why. */
  broken(reason: string): void
}

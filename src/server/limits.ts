/** What one client may ask for, and how long the server waits. Set once, when the server starts. */
import type { Caps } from '../refine/presets.js'
import { defaultTermCaps, type TermCaps } from './requests/energy-terms.js'
import type { Rates } from './requests/quotas.js'

export interface Limits {
  readonly bodyBytes: number
  /** How deep the JSON of a body or a frame may nest. */
  readonly nesting: number
  /** A longer socket frame is refused; one of four times this length ends its connection. */
  readonly frameBytes: number
  /** Sockets that one client may have open at once. */
  readonly clientSockets: number
  /** What the unfinished messages of all sockets of one client may take in memory, and those of all clients. */
  readonly clientUnfinishedBytes: number
  readonly unfinishedBytes: number
  /** Most choices of one request: prompts times `n` or `best_of`. */
  readonly choices: number
  readonly caps: Caps
  readonly terms: TermCaps
  /** Most descent steps of one request, summed over its choices, answers and candidates. */
  readonly steps: number
  /** What one client may use. */
  readonly rates: Rates
  /** Seconds for which a response is kept after its end. */
  readonly responseSeconds: number
  /** Seconds within which a request, or a message of a socket, must have arrived in full. */
  readonly requestSeconds: number
  /** Seconds for which an engine may leave a question unanswered before `/health` reports it. */
  readonly stallSeconds: number
  /** Seconds between pings on a socket; a peer that leaves one unanswered is gone. */
  readonly heartbeatSeconds: number
}

export const defaultLimits: Limits = Object.freeze({
  bodyBytes: 1024 * 1024,
  nesting: 32,
  frameBytes: 1024 * 1024,
  clientSockets: 2048,
  clientUnfinishedBytes: 16 * 1024 * 1024,
  unfinishedBytes: 64 * 1024 * 1024,
  choices: 64,
  caps: Object.freeze({ maxSteps: 100_000, maxSeconds: 300, candidates: 64 }),
  terms: defaultTermCaps,
  steps: 100_000_000,
  rates: Object.freeze({}),
  responseSeconds: 86_400,
  requestSeconds: 30,
  stallSeconds: 30,
  heartbeatSeconds: 15,
})

/** Between two checkpoints of a response in the background, if nobody says otherwise. */
export const CHECKPOINT_SECONDS = 5

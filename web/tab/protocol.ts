/** What the page and the engine in its tab tell each other: plain data, the frames of the socket among it. */
import type { ClientFrame, Landscape, Request, ServerEvent } from '../src/wire.js'

/** Where the files of a model are. */
export interface ModelFiles {
  name: string
  /** The address of their folder, with a slash at the end. */
  folder: string
  /** The header by which a server with keys knows the page; empty without keys. */
  authorization: string
}

export type StartRequest = Request & { hold: boolean; logprobs: number }
export type SteeringFrame = Exclude<ClientFrame, { type: 'start' }>

/** The body of a request of `/v1/landscape`. */
export interface LandscapeQuestion extends Request {
  directions: ('gradient' | 'candidates' | 'random')[]
  points: number
  plane: { points: number }
}

export type ToTab =
  | { type: 'start'; id: string; files: ModelFiles; request: StartRequest }
  | { type: 'look'; id: string; files: ModelFiles; question: LandscapeQuestion }
  | { type: 'steer'; id: string; frame: SteeringFrame }

export type FromTab =
  | { type: 'event'; id: string; event: ServerEvent }
  | { type: 'landscape'; id: string; landscape: Landscape }
  /** The answer ended before it was finished. */
  | { type: 'broken'; id: string; reason: string }
  /** Bytes of the weights that have come; `total` is 0 where the host does not say. */
  | { type: 'fetching'; model: string; done: number; total: number }
  | { type: 'compiling'; model: string }
  | { type: 'ready'; model: string; adapter: string }

/**
 * Buffers of a pass: activations of as many positions as one pass may have, made once. Where descent
 * needs a gradient, every layer keeps its own; else all layers pass through the same ones.
 */
import type { Memory } from './memory.js'
import { vocabChunk } from './kernels/source.js'
import type { Shape } from './shape.js'

/** Bytes of activations that passes are cut to fit in. */
const budget = 256 * 2 ** 20
const leastPositions = 16
const mostPositions = 16_384

export interface LayerActivations {
  /** Input, [position][LD]. */
  x: GPUBuffer
  /** After attention, [position][LD]. */
  h: GPUBuffer
  /** [position][3 LD] */
  qkv: GPUBuffer
  /** [position][LD] */
  mixed: GPUBuffer
  /** With a gradient: both sides of the gates [position][2 LDF], log sums of softmax [position][H]. */
  kept?: GPUBuffer
  logSums?: GPUBuffer
}

/** Of the way back. */
export interface Slopes {
  /** d/d x, [position][LD] */
  x: GPUBuffer
  /** d/d what a norm gave out, or d/d mixed, [position][LD] */
  given: GPUBuffer
  /** d/d the gates' two sides, [position][2 LDF] */
  gates: GPUBuffer
  /** [position][3 LD] */
  qkv: GPUBuffer
  /** [position][H][stride] */
  scores: GPUBuffer
}

export interface Activations {
  /** Most positions of a pass. */
  positions: number
  /** Numbers of scores that a pass may have. */
  scoreNumbers: number
  layers: LayerActivations[]
  /** The last layer's output, [position][LD]. */
  last: GPUBuffer
  hidden: GPUBuffer
  scores: GPUBuffer
  slopes?: Slopes
  /** Where energies are taken, [position][LDS], and after the step where steps may be rejected. */
  base: GPUBuffer
  probe: GPUBuffer
  /** F, or drafts, [position][LD]. */
  opinions?: GPUBuffer
  /** [position][LDV] */
  logits: GPUBuffer
  /** With a gradient: directions [position][LDS], their squares [position]. */
  direction?: GPUBuffer
  squares?: GPUBuffer
  /** Vocab space: expected embeddings in parts, [part][position][LD]. */
  expected?: GPUBuffer
  /** [position] */
  parts: GPUBuffer
  /** [answer] */
  improved: GPUBuffer
  rejected: GPUBuffer
}

/** Numbers of a position in all buffers, without scores. */
function numbersOfPosition(shape: Shape): number {
  const { gradient, layers, ld, ldFfn, ldState, ldVocab, latent } = shape
  const layer = 6 * ld + (gradient ? 2 * ldFfn + shape.heads : 0)
  const back = gradient ? 5 * ld + 2 * ldFfn + ldState : 0
  const expected = latent ? 0 : Math.ceil(ldVocab / vocabChunk) * ld
  return (gradient ? layers : 1) * layer + 2 * ld + ldFfn + 2 * ldState + ldVocab + back + expected
}

/** How many positions a pass may have, and how many scores. */
export function roomOf(shape: Shape, largestBuffer: number): { positions: number; scores: number } {
  const { block, contextMost, gradient, heads, slots } = shape
  const most = largestBuffer / 4
  const widest = Math.max(3 * shape.ld, 2 * shape.ldFfn, shape.ldVocab, shape.ldState)
  const fits = Math.min(
    Math.floor(budget / 4 / numbersOfPosition(shape)),
    Math.floor(most / widest),
  )
  const wanted = Math.max(slots * block, leastPositions, 256)
  const positions = Math.max(block, Math.min(fits, wanted, mostPositions))
  const longest = heads * (contextMost + block)
  const copies = gradient ? 2 : 1
  const scores = Math.min(positions * longest, Math.floor(most), budget / 4 / copies)
  return { positions, scores: Math.max(scores, block * longest) }
}

/** `largestBuffer`: bytes that the adapter allows in one. */
export function makeActivations(shape: Shape, memory: Memory, largestBuffer: number): Activations {
  const { positions, scores } = roomOf(shape, largestBuffer)
  const { gradient, heads, latent, layers, ld, ldFfn, ldState, ldVocab } = shape
  const make = (label: string, width: number): GPUBuffer => memory.storage(label, positions * width)
  const layer = (): LayerActivations => ({
    x: make('x', ld),
    h: make('h', ld),
    qkv: make('qkv', 3 * ld),
    mixed: make('mixed', ld),
    ...(gradient && { kept: make('gates', 2 * ldFfn), logSums: make('log sums', heads) }),
  })
  const shared = layer()
  const all = Array.from({ length: layers }, (_, i) => (i === 0 || !gradient ? shared : layer()))
  const made: Activations = {
    positions,
    scoreNumbers: scores,
    layers: all,
    last: gradient ? make('last', ld) : shared.x,
    hidden: make('hidden', ldFfn),
    scores: memory.storage('scores', scores),
    base: make('base', ldState),
    probe: make('probe', ldState),
    logits: make('logits', ldVocab),
    parts: make('parts', 2),
    improved: make('improved', 1),
    rejected: make('rejected', 1),
  }
  if (latent) made.opinions = make('opinions', ld)
  else made.expected = make('expected embeddings', Math.ceil(ldVocab / vocabChunk) * ld)
  if (!gradient) return made
  made.direction = make('direction', ldState)
  made.squares = make('squares', 1)
  made.slopes = {
    x: make('slope', ld),
    given: make('given slope', ld),
    gates: make('slope of the gates', 2 * ldFfn),
    qkv: make('slope of qkv', 3 * ld),
    scores: memory.storage('slope of scores', scores),
  }
  return made
}

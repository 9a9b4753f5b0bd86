/**
 * The sizes by which kernels are generated and buffers are made, derived from a model's configuration
 * and an engine's capacity. Rows of matrices are padded to whole vectors of four numbers; what is
 * padded is zero throughout.
 */
import type { ModelConfig } from '../../model/config.js'
import { contextCaches, contextOffset, draftsFromContext, stateWidth } from '../../model/derived.js'
import type { EngineCapacity } from '../engine.js'

/** Positions of a cache page. */
export const webgpuPageSize = 16

export interface Shape {
  readonly config: ModelConfig
  /** D, and D padded. */
  readonly dim: number
  readonly ld: number
  readonly heads: number
  /** Width of a head, an even number. */
  readonly headWidth: number
  /** F padded. */
  readonly ldFfn: number
  readonly vocab: number
  readonly ldVocab: number
  /** K */
  readonly block: number
  readonly layers: number
  readonly landscapes: number
  /** Caches of a context: one, or one for each landscape. */
  readonly caches: number
  /** 1 where a step token stands before the observed tokens, which all contexts share; else 0. */
  readonly sink: number
  /** W, the width of a position's state: V or D; and W padded. */
  readonly stateWidth: number
  readonly ldState: number
  readonly latent: boolean
  readonly residual: boolean
  /** Whether descent needs the gradient through the network. */
  readonly gradient: boolean
  readonly adaptive: boolean
  /** Whether drafts are read from the observed stream. */
  readonly contextDrafts: boolean
  readonly anchored: boolean
  readonly slots: number
  readonly contexts: number
  readonly pages: number
  /** Most pages of one context: the width of the device's page table. */
  readonly pagesPerContext: number
  /** Most observed positions of a context, the step token included. */
  readonly contextMost: number
  /** Rotary positions that can occur. */
  readonly rotaryPositions: number
}

const padded = (n: number): number => Math.ceil(n / 4) * 4

export function shapeOf(config: ModelConfig, capacity: Omit<EngineCapacity, 'pageSize'>): Shape {
  const { answer, energy, dim, heads } = config
  const latent = answer.space === 'latent'
  const residual = energy.kind === 'residual'
  const held = Math.min(config.context_length, capacity.pages * webgpuPageSize)
  const sink = contextOffset(config)
  return {
    config,
    dim,
    ld: padded(dim),
    heads,
    headWidth: dim / heads,
    ldFfn: padded(config.ffn_dim),
    vocab: config.vocab_size,
    ldVocab: padded(config.vocab_size),
    block: answer.block,
    layers: config.layers,
    landscapes: config.landscapes,
    caches: contextCaches(config),
    sink,
    stateWidth: stateWidth(config),
    ldState: padded(stateWidth(config)),
    latent,
    residual,
    gradient: !residual || energy.direction === 'exact',
    adaptive: config.conditioning === 'adaln',
    contextDrafts: draftsFromContext(config),
    anchored: answer.anchor === true,
    slots: capacity.slots,
    contexts: capacity.contexts,
    pages: capacity.pages,
    pagesPerContext: Math.ceil(held / webgpuPageSize),
    contextMost: held + sink,
    rotaryPositions: held + answer.block + sink,
  }
}

/** The options of a native engine, and the numbers by which the addon knows them. */
import { draftsFromContext, type ModelConfig } from '../../model/config.js'
import type { EngineCapacity } from '../engine.js'
import type { OpenConfig } from './addon.js'

/** Number formats of weights and of the context cache, in the order of the enumeration in native/kernels/kernels.h. */
export const numberTypes = ['f32', 'bf16', 'int8'] as const
export type NumberType = (typeof numberTypes)[number]
export const numberBytes: Readonly<Record<NumberType, number>> = { f32: 4, bf16: 2, int8: 1 }
/** `auto` takes the widest vectors that the machine has. */
export const kernelSets = ['auto', 'avx512', 'avx2', 'baseline'] as const
export type KernelSet = (typeof kernelSets)[number]

/** Positions of a cache page; fixed by the kernels. */
export const nativePageSize = 16

/** In the order of the enumerations in native/model/config.h. */
const conditionings = ['none', 'time_embed', 'adaln', 'candidate'] as const
const spaces = ['vocab', 'latent'] as const
const starts = ['noise', 'zeros', 'draft', 'context'] as const
const normalizations = ['every_step', 'first_step', 'never'] as const
const embeddings = ['vocab_to_embed', 'embeddings'] as const
const kinds = ['head', 'potential', 'residual'] as const
const directions = ['exact', 'amortized'] as const

export interface NativeOptions {
  capacity: Omit<EngineCapacity, 'pageSize'>
  threads: number
  weights: NumberType
  /** Of the keys and values of contexts. */
  cacheType: NumberType
  reason: string
  /** For tests: run on narrower vectors than the machine has. */
  kernels?: KernelSet
}

/** The configuration of a model as the addon reads it. */
export function openConfig(model: ModelConfig, options: NativeOptions): OpenConfig {
  const { answer, energy } = model
  const { slots, contexts, pages } = options.capacity
  return {
    vocab_size: model.vocab_size,
    dim: model.dim,
    layers: model.layers,
    heads: model.heads,
    ffn_dim: model.ffn_dim,
    context_length: model.context_length,
    landscapes: model.landscapes,
    block: answer.block,
    norm_eps: model.norm_eps,
    rope_theta: model.rope_theta,
    start_scale: answer.start_scale,
    doubt: energy.doubt,
    conditioning: conditionings.indexOf(model.conditioning),
    space: spaces.indexOf(answer.space),
    start: starts.indexOf(draftsFromContext(model) ? 'context' : answer.start),
    normalize: normalizations.indexOf(answer.normalize),
    embed: embeddings.indexOf(answer.embed),
    kind: kinds.indexOf(energy.kind),
    direction: directions.indexOf(energy.direction),
    anchor: Number(answer.anchor ?? false),
    weights: numberTypes.indexOf(options.weights),
    cache: numberTypes.indexOf(options.cacheType),
    kernels: kernelSets.indexOf(options.kernels ?? 'auto'),
    slots,
    contexts,
    pages,
    threads: options.threads,
  }
}

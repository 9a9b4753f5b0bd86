/**
 * Initial weights, a function of the configuration and a seed. Matrices of latent models are normal with
 * a deviation that depends on width and depth; those of vocab models are drawn as in the published
 * implementation (Xavier normal, unit embeddings). If the context drafts the answer, the opinion matrix
 * C begins as the identity, so that a step leaves a draft as it is and training learns to change it. If
 * the opinion is anchored to the draft as well, the anchor A begins as the identity and C as 0, so that
 * an opinion is the draft itself, and the model begins as a causal one.
 */
import { tensorShapes } from '../model/checkpoint.js'
import { draftsFromContext, type ModelConfig } from '../model/config.js'
import type { Float32Tensor } from '../model/safetensors.js'
import { normals } from '../refine/random.js'

function deviation(name: string, shape: readonly number[], config: ModelConfig): number {
  const [out = 1, into = 1] = shape
  if (name.includes('adaLN_modulation')) return 0.02
  if (config.answer.space === 'vocab')
    return name.endsWith('embeddings.weight') ? 1 : Math.sqrt(2 / (out + into))
  if (
    name.endsWith('embeddings.weight') ||
    name === 'answer.query.weight' ||
    name === 'answer.blank.weight'
  )
    return 0.5
  if (name.endsWith('final_layer.weight') || name.endsWith('linear.weight')) return 0.02
  if (name === 'answer.opinion.weight' || name === 'answer.draft.weight')
    return (3 * config.dim) ** -0.5
  const back = name.endsWith('wo.weight') || name.endsWith('w2.weight')
  return config.dim ** -0.5 * (back ? (2 * config.layers) ** -0.5 : 1)
}

/** The names of square matrices that begin as the identity, and of those that begin as 0. */
function identitiesAndZeros(config: ModelConfig): { identities: string[]; zeros: string[] } {
  const opinion = 'answer.opinion.weight'
  if (!draftsFromContext(config)) return { identities: [], zeros: [] }
  if (!config.answer.anchor) return { identities: [opinion], zeros: [] }
  return { identities: ['answer.draft.weight', 'answer.anchor.weight'], zeros: [opinion] }
}

/** [dim, dim], `scale` on its diagonal. */
function identity(dim: number, scale = 1): Float32Array<ArrayBuffer> {
  const data = new Float32Array(dim * dim)
  for (let i = 0; i < dim; i++) data[i * (dim + 1)] = scale
  return data
}

export function initialWeights(
  config: ModelConfig,
  seed: number,
  alpha: number,
): Map<string, Float32Tensor> {
  const tensors = new Map<string, Float32Tensor>()
  const { identities, zeros } = identitiesAndZeros(config)
  let index = 0
  for (const [name, shape] of tensorShapes(config)) {
    const size = shape.reduce((a, b) => a * b, 1)
    let data = new Float32Array(size)
    if (name === 'alpha') data.fill(alpha)
    else if (name === 'answer.scale') data.fill(10)
    else if (name.endsWith('norm.weight')) data.fill(1)
    else if (identities.includes(name)) data = identity(config.dim)
    else if (!name.endsWith('bias') && !zeros.includes(name)) {
      const scale = deviation(name, shape, config)
      data = normals(seed, index, 0, size).map((x) => x * scale)
    }
    tensors.set(name, { shape, data })
    index++
  }
  return tensors
}

/** Index of the random numbers of the shared direction, apart from those of the tensors. */
const SHARED_DRAWS = 0x40000000
/** Position queries begin with so much of their usual deviation. */
const SMALL_QUERIES = 0.1

/**
 * Replaces initial weights so that attention can tell distances from the first update on. Without biases, a
 * score depends on the distance of two positions alone only as far as all of their inputs share a direction;
 * here all tokens and blanks begin with one, and positions of their own begin small. So what is learned at
 * one place of the block holds at all others.
 */
export function distancesFirst(
  tensors: ReadonlyMap<string, Float32Tensor>,
  { dim }: ModelConfig,
  seed: number,
): Map<string, Float32Tensor> {
  const shared = normals(seed, SHARED_DRAWS, 0, dim).map((x) => x / 2)
  const changed = (name: string, change: (value: number, i: number) => number) => {
    const { data, shape } = tensors.get(name) as Float32Tensor
    return [name, { shape, data: data.map(change) }] as const
  }
  const withShared = (value: number, i: number): number => value + (shared[i % dim] as number)
  return new Map([
    changed('embeddings.weight', withShared),
    changed('answer.blank.weight', withShared),
    changed('answer.query.weight', (value) => value * SMALL_QUERIES),
  ])
}

/**
 * Converts the weights of a model that drafts from its context to those of one whose opinions are
 * anchored to that draft. The draft stays as it was; an opinion becomes the mean of the draft and of
 * the former opinion.
 */
export function anchored(
  tensors: ReadonlyMap<string, Float32Tensor>,
  { dim }: ModelConfig,
): ReadonlyMap<string, Float32Tensor> {
  const opinion = tensors.get('answer.opinion.weight')
  if (!opinion || tensors.has('answer.anchor.weight')) return tensors
  return new Map(tensors)
    .set('answer.draft.weight', opinion)
    .set('answer.opinion.weight', { ...opinion, data: opinion.data.map((x) => x / 2) })
    .set('answer.anchor.weight', { ...opinion, data: identity(dim, 0.5) })
}

/**
 * Converts the weights of a model without an energy to those of one with the residual energy: an opinion is at
 * first what the model without an energy reads out.
 */
export const withOpinion = (
  tensors: ReadonlyMap<string, Float32Tensor>,
  { dim }: ModelConfig,
): ReadonlyMap<string, Float32Tensor> =>
  new Map(tensors).set('answer.opinion.weight', { shape: [dim, dim], data: identity(dim) })

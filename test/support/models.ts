/** Small models with random weights, of every kind, for tests that need no trained model. */
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { parseConfig, type ModelConfig } from '../../src/model/config.js'
import { normals } from '../../src/refine/random.js'
import { initialWeights } from '../../src/train/initial-weights.js'

type Overrides = {
  [K in keyof ModelConfig]?: ModelConfig[K] extends object | undefined
    ? Partial<ModelConfig[K]>
    : ModelConfig[K]
}

const base: ModelConfig = {
  format: 'basin-ebt/1',
  name: 'small',
  description: 'random weights',
  created: 0,
  vocab_size: 11,
  dim: 16,
  layers: 2,
  heads: 2,
  ffn_dim: 24,
  context_length: 64,
  norm_eps: 1e-5,
  rope_theta: 10000,
  conditioning: 'none',
  landscapes: 1,
  steps: 4,
  answer: {
    space: 'latent',
    block: 4,
    start: 'zeros',
    start_scale: 1,
    normalize: 'never',
    embed: 'embeddings',
  },
  energy: { kind: 'residual', direction: 'amortized', doubt: 0.5 },
}

const vocab = {
  space: 'vocab',
  normalize: 'every_step',
  embed: 'vocab_to_embed',
  start: 'noise',
} as const
const exact = { kind: 'residual', direction: 'exact' } as const

/** Every answer space, energy, conditioning and start, in combinations that reach all code paths. */
export const variants: { label: string; overrides: Overrides }[] = [
  { label: 'latent residual amortized, K 4', overrides: {} },
  {
    label: 'latent residual amortized, K 1, candidate',
    overrides: { answer: { block: 1 }, conditioning: 'candidate', landscapes: 3 },
  },
  {
    label: 'latent residual amortized, K 4, candidate',
    overrides: { conditioning: 'candidate', landscapes: 2 },
  },
  {
    label: 'latent residual exact, noise',
    overrides: { energy: exact, answer: { start: 'noise' } },
  },
  { label: 'latent residual, draft', overrides: { answer: { start: 'draft' } } },
  {
    label: 'latent residual, K 1, draft from the context',
    overrides: { answer: { block: 1, start: 'draft', draft: 'observed' } },
  },
  {
    label: 'latent residual, K 1, anchored by its draft',
    overrides: { answer: { block: 1, start: 'draft', draft: 'observed', anchor: true } },
  },
  {
    label: 'latent potential',
    overrides: { energy: { kind: 'potential', direction: 'exact' }, answer: { start: 'noise' } },
  },
  {
    label: 'latent potential, draft, adaln',
    overrides: {
      energy: { kind: 'potential', direction: 'exact' },
      answer: { start: 'draft' },
      conditioning: 'adaln',
      landscapes: 2,
    },
  },
  {
    label: 'latent head, time_embed',
    overrides: {
      energy: { kind: 'head', direction: 'exact' },
      conditioning: 'time_embed',
      landscapes: 2,
    },
  },
  {
    label: 'latent head, K 1, draft, candidate',
    overrides: {
      energy: { kind: 'head', direction: 'exact' },
      answer: { block: 1, start: 'draft' },
      conditioning: 'candidate',
      landscapes: 2,
    },
  },
  {
    label: 'vocab head',
    overrides: { energy: { kind: 'head', direction: 'exact' }, answer: { ...vocab, block: 1 } },
  },
  {
    label: 'vocab head, K 4, adaln',
    overrides: {
      energy: { kind: 'head', direction: 'exact' },
      answer: vocab,
      conditioning: 'adaln',
      landscapes: 2,
    },
  },
  {
    label: 'vocab head, first_step, time_embed',
    overrides: {
      energy: { kind: 'head', direction: 'exact' },
      answer: { ...vocab, block: 1, normalize: 'first_step', embed: 'embeddings' },
      conditioning: 'time_embed',
      landscapes: 2,
    },
  },
  {
    label: 'vocab head, never, zeros',
    overrides: {
      energy: { kind: 'head', direction: 'exact' },
      answer: { ...vocab, block: 2, normalize: 'never', start: 'zeros' },
    },
  },
]

export function configOf(overrides: Overrides): ModelConfig {
  const merged = {
    ...base,
    ...overrides,
    answer: { ...base.answer, ...overrides.answer },
    energy: { ...base.energy, ...overrides.energy },
  }
  return parseConfig(merged, 'test')
}

/** The variant's checkpoint, with deterministic weights that are large enough for energies to differ. */
export function modelOf(label: string): Checkpoint {
  const variant = variants.find((v) => v.label === label)
  if (!variant) throw new Error(`no variant ${label}`)
  const config = configOf(variant.overrides)
  const tensors = initialWeights(config, 42, 0.5)
  // Initial weights make the opinion equal to the draft; in these tests the two must differ.
  for (const [i, name] of ['answer.anchor.weight', 'answer.opinion.weight'].entries())
    if (config.answer.anchor)
      tensors.get(name)?.data.set(normals(42 + i, 0, 0, config.dim ** 2).map((x) => x / 4))
  return { config, tensors }
}

/**
 * Makes a config.json from the reference's hyper_parameters and the shapes in its state dict. Networks
 * that Basin does not compute are refused here, with the reference's name for what is not supported.
 */
import { parseConfig, type ModelConfig } from '../config.js'
import { quote, refuse } from './refusal.js'
import type { Settings } from './hyperparameters.js'

/** Shapes by the reference's tensor names, without prefixes. */
export type Shapes = ReadonlyMap<string, readonly number[]>

/** Fields of config.json that no setting of the reference determines. */
export const ownFields = ['name', 'description', 'created', 'template', 'temperature'] as const
export type Identity = Pick<ModelConfig, (typeof ownFields)[number]>

/** Constants of the reference's code. */
export const referenceNormEps = 1e-5
export const referenceRopeTheta = 10_000

const ebtTypes = ['default', 'time_embed', 'adaln', 'adaln_zero'] as const
type EbtType = (typeof ebtTypes)[number]

/** Throws `invalid_checkpoint` naming the setting. */
export function configurationOf(
  settings: Settings,
  shapes: Shapes,
  identity: Identity,
): ModelConfig {
  const type = ebtTypeOf(settings, shapes)
  refuseUnsupported(settings, type)
  const [vocabulary, dim] = matrix(settings, shapes, 'embeddings.weight')
  const layers = layersOf(shapes)
  const [ffn] = matrix(settings, shapes, 'transformer.layers.0.feed_forward.w1.weight')
  agree(settings, 'embedding_dim', dim)
  agree(settings, 'num_transformer_blocks', layers)
  const trained = stepsOf(settings, type, shapes)
  return parseConfig(
    {
      format: 'basin-ebt/1',
      ...identity,
      vocab_size: vocabulary,
      dim,
      layers,
      heads: settings.count('multiheaded_attention_heads'),
      ffn_dim: ffn,
      context_length: settings.count('context_length'),
      norm_eps: referenceNormEps,
      rope_theta: referenceRopeTheta,
      conditioning: conditionings[type],
      landscapes: type === 'default' ? 1 : trained.landscapes,
      steps: trained.steps,
      answer: answerOf(settings, shapes),
      energy: { kind: 'head', direction: 'exact', doubt: 0 },
    },
    settings.path,
  )
}

const conditionings = {
  default: 'none',
  time_embed: 'time_embed',
  adaln: 'adaln',
  // This is adaln with modulations that started from zero: the same network.
  adaln_zero: 'adaln',
} as const

function ebtTypeOf(settings: Settings, shapes: Shapes): EbtType {
  const timed = shapes.has('transformer.time_embeddings.weight')
  const adaptive = shapes.has('transformer.final_layer.adaLN_modulation.1.weight')
  const seen = adaptive ? 'adaln' : timed ? 'time_embed' : 'default'
  const type = settings.choice('ebt_type', ebtTypes, seen)
  if (conditionings[type] !== conditionings[seen])
    refuse(settings.path, `ebt_type is ${type}, but the tensors are those of ${seen}`)
  return type
}

function refuseUnsupported(settings: Settings, type: EbtType): void {
  settings.choice('modality', ['NLP'], 'NLP')
  settings.choice('model_name', ['ebt'], 'ebt')
  for (const name of ['learnable_process_memory', 'clamp_futures_grad'])
    if (settings.flag(name, false)) settings.unsupported(name, 'true')
  for (const name of ['absolute_clamp', 'sharpen_predicted_distribution'])
    if (settings.number(name, 0) !== 0) settings.unsupported(name, String(settings.number(name)))
  // The reference uses these two settings only in its time_embed model.
  if (type !== 'time_embed') return
  settings.choice('ebt_norm', ['rms'], 'rms')
  settings.choice('ebt_act_func', ['silu'], 'silu')
}

/**
 * The reference evaluates with its largest number of steps: the last landscape is repeated
 * `randomize_mcmc_num_steps` further times.
 */
function stepsOf(
  settings: Settings,
  type: EbtType,
  shapes: Shapes,
): { landscapes: number; steps: number } {
  const stored = shapes.get('transformer.time_embeddings.weight')?.[0]
  const landscapes = settings.count('mcmc_num_steps', stored)
  if (type !== 'default' && landscapes !== stored)
    refuse(
      settings.path,
      `mcmc_num_steps is ${landscapes}, but there are ${stored ?? 0} time embeddings`,
    )
  return { landscapes, steps: landscapes + settings.count('randomize_mcmc_num_steps', 0) }
}

function answerOf(settings: Settings, shapes: Shapes): ModelConfig['answer'] {
  const tied = settings.flag('vocab_to_embed_uses_prob_dist', !shapes.has('vocab_to_embed.weight'))
  const normalized = settings.flag('normalize_initial_condition')
  if (tied && !normalized)
    settings.unsupported('vocab_to_embed_uses_prob_dist', 'without normalize_initial_condition')
  const mlp = settings.count('num_modality_processing_mlp_layers', 1)
  if (!tied && mlp !== 1) settings.unsupported('num_modality_processing_mlp_layers', String(mlp))
  const start = settings.choice(
    'denoising_initial_condition',
    ['random_noise', 'zeros'],
    'random_noise',
  )
  return {
    space: 'vocab',
    block: 1,
    start: start === 'zeros' ? 'zeros' : 'noise',
    start_scale: settings.number('gaussian_random_noise_scaling', 1),
    normalize: normalized ? normalizeOf(settings) : 'never',
    embed: tied ? 'embeddings' : 'vocab_to_embed',
  }
}

/** In the reference "only the first step" means the first landscape; if there is one landscape and it is repeated, that is every step. */
function normalizeOf(settings: Settings): 'every_step' | 'first_step' {
  if (!settings.flag('normalize_initial_condition_only_first_step', false)) return 'every_step'
  const repeated = settings.count('randomize_mcmc_num_steps', 0) > 0
  return settings.count('mcmc_num_steps') === 1 && repeated ? 'every_step' : 'first_step'
}

function layersOf(shapes: Shapes): number {
  const last = [...shapes.keys()].reduce((highest, name) => {
    const [, digits] = /^transformer\.layers\.(\d{1,6})\./.exec(name) ?? []
    return Math.max(highest, Number(digits ?? -1))
  }, -1)
  return last + 1
}

function matrix(settings: Settings, shapes: Shapes, name: string): readonly [number, number] {
  const shape = shapes.get(name)
  if (shape?.length !== 2)
    refuse(
      settings.path,
      shape ? `${name} has shape [${shape.join()}], not two dimensions` : `${name} is missing`,
    )
  return shape as unknown as readonly [number, number]
}

function agree(settings: Settings, name: string, found: number): void {
  if (settings.count(name, found) !== found)
    refuse(
      settings.path,
      `hyper_parameters: ${name} is ${settings.count(name)}, the tensors have ${found}`,
    )
}

/** Why a state dict with this tensor is not supported. */
export function reasonAgainst(name: string): string {
  const known = suspects.find(([pattern]) => pattern.test(name))
  return known
    ? `${known[1]} (${quote(name)}) is not supported`
    : `${quote(name)} belongs to no EBT that is supported`
}

const suspects: readonly [RegExp, string][] = [
  [/(forward|backward)_rms|norm\.(gamma|beta)$/, 'ebt_norm ebm_backwards_norm'],
  [/norm\.alpha$/, 'ebt_norm dyt'],
  [/norm\.bias$/, 'ebt_norm layer (or dyt)'],
  [/^vocab_to_embed\./, 'learnable_process_memory or an MLP as vocab_to_embed'],
  [/^image_encoder|^(vae|encoder|decoder|x_embedder|patch|label)/i, 'a modality other than NLP'],
]

/**
 * Writes a config.json as the reference's hyper_parameters. Throws for what they cannot express. Settings
 * that do not affect the exported network get the defaults of the reference's command line.
 */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../config.js'
import { referenceNormEps, referenceRopeTheta } from '../import/reference-config.js'
import type { Float32Tensor } from '../safetensors.js'
import { Float, type Picklable } from './pickle-writer.js'

export function referenceSettings(
  config: ModelConfig,
  tensors: ReadonlyMap<string, Float32Tensor>,
  tokenizer: string,
  path: string,
): Readonly<Record<string, Picklable>> {
  const against = obstacles.find(([holds]) => holds(config))
  if (against) throw inexpressible(path, against[1](config))
  const scalar = (name: string) => new Float(tensors.get(name)?.data[0] ?? 0)
  const { answer, context_length, conditioning, dim, heads, landscapes, layers, steps } = config
  const timed = conditioning !== 'none'
  return {
    ...unused,
    model_name: 'ebt',
    modality: 'NLP',
    tokenizer,
    embedding_dim: dim,
    num_transformer_blocks: layers,
    multiheaded_attention_heads: heads,
    ffn_dim_multiplier: multiplierOf(config, path),
    context_length,
    ebt_type: timed ? conditioning : 'default',
    mcmc_num_steps: timed ? landscapes : steps,
    randomize_mcmc_num_steps: timed ? steps - landscapes : 0,
    mcmc_step_size: scalar('alpha'),
    langevin_dynamics_noise: scalar('langevin_dynamics_noise_std'),
    vocab_to_embed_uses_prob_dist: answer.embed === 'embeddings',
    denoising_initial_condition: answer.start === 'zeros' ? 'zeros' : 'random_noise',
    gaussian_random_noise_scaling: new Float(answer.start_scale),
    normalize_initial_condition: answer.normalize !== 'never',
    normalize_initial_condition_only_first_step: answer.normalize === 'first_step',
  }
}

const obstacles: readonly [(c: ModelConfig) => boolean, (c: ModelConfig) => string][] = [
  [(c) => c.feed_forward === true, () => 'a feed-forward control'],
  [(c) => c.answer.space !== 'vocab', ({ answer }) => `answer.space ${answer.space}`],
  [(c) => c.answer.block !== 1, ({ answer }) => `answer.block ${answer.block} (only 1)`],
  [(c) => c.conditioning === 'candidate', () => 'conditioning candidate'],
  [(c) => c.norm_eps !== referenceNormEps, (c) => `norm_eps ${c.norm_eps} (only 1e-5)`],
  [(c) => c.rope_theta !== referenceRopeTheta, (c) => `rope_theta ${c.rope_theta} (only 10000)`],
  [(c) => c.steps < c.landscapes, (c) => `steps ${c.steps} below landscapes ${c.landscapes}`],
  [
    (c) => c.answer.embed === 'embeddings' && c.answer.normalize === 'never',
    () => 'answer.embed embeddings with normalize never',
  ],
  [
    (c) =>
      c.answer.normalize === 'first_step' &&
      c.conditioning !== 'none' &&
      c.landscapes === 1 &&
      c.steps > 1,
    () => 'answer.normalize first_step with one landscape and several steps',
  ],
]

/** ffn_dim is the integer part of dim times this multiplier in the reference. */
function multiplierOf({ dim, ffn_dim }: ModelConfig, path: string): Float | null {
  if (ffn_dim === dim) return null
  // The product with the quotient may round to just below ffn_dim.
  const found = [ffn_dim / dim, (ffn_dim + 0.5) / dim].find((m) => Math.trunc(dim * m) === ffn_dim)
  if (found === undefined) throw inexpressible(path, `ffn_dim ${ffn_dim}`)
  return new Float(found)
}

const inexpressible = (path: string, what: string) =>
  new BasinError('invalid_checkpoint', {
    path,
    reason: `${what} cannot be expressed in the reference's checkpoints`,
  })

const unused: Readonly<Record<string, Picklable>> = {
  execution_mode: 'pretrain',
  batch_size_per_device: 32,
  mcmc_step_size_learnable: true,
  langevin_dynamics_noise_learnable: false,
  weight_initialization_method: 'xavier',
  weight_initialization_gain: new Float(1),
  num_modality_processing_mlp_layers: 1,
  mcmc_replay_buffer: false,
  debug_unused_parameters: false,
  ebt_norm: 'rms',
  ebt_act_func: 'silu',
  dyt_alpha_init: new Float(0.5),
  randomize_mcmc_step_size_scale: new Float(1),
  randomize_mcmc_num_steps_min: 0,
  randomize_mcmc_num_steps_final_landscape: false,
  no_mcmc_detach: false,
  truncate_mcmc: false,
  clamp_futures_grad: false,
  clamp_futures_grad_max_change: new Float(9),
  absolute_clamp: new Float(0),
  clamp_max_after_warm_up: new Float(0),
  sharpen_predicted_distribution: new Float(0),
  reconstruction_coeff: new Float(1),
  contrastive_loss: false,
  contrastive_loss_coeff: new Float(0.0005),
  discrete_contrastive_loss_true_logit_val: new Float(0),
  soften_target_prob_dist: new Float(0),
  compile_model: false,
  metrics_list: [],
  wandb_watch: false,
  infer_ebt_advanced: false,
  infer_ebt_num_steps: 1,
  infer_ebt_override_alpha: new Float(0),
  infer_generated_samples: 1,
  infer_energy_sampling_technique: 'min',
  infer_langevin_dynamics_noise: new Float(0),
  infer_langevin_first_step: false,
  infer_accept_lower_energies: false,
  infer_steps_final_landscape: false,
  infer_alpha_final_landscape: false,
  infer_debug_sample_distances: false,
}

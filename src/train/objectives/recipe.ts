/** The options of the EBT recipe (Gladstone et al. 2025), and its two published stages. */
import type { ReplayOptions } from '../replay.js'

/** The published implementation's name of an option is in parentheses. */
export interface OptimizeOptions {
  /** P: 0 to P steps on the last landscape come first, without a derivative or a loss. */
  horizon: number
  /** Number of steps, each on its landscape (mcmc_num_steps). */
  steps: number
  /** Differentiates through all steps (no_mcmc_detach). */
  through: boolean
  /** Only the last step has a loss and a derivative (truncate_mcmc). */
  truncate: boolean
  /** s: each position's step size is drawn from alpha / s to alpha s (randomize_mcmc_step_size_scale). */
  stepSizeScale: number
  /** R: each step is taken 1 to 1 + R times (randomize_mcmc_num_steps). */
  repeats: number
  /** Least number of times, in place of 1; 0 means 1 (randomize_mcmc_num_steps_min). */
  leastRepeats: number
  /** Only the last step repeats (randomize_mcmc_num_steps_final_landscape). */
  repeatLast: boolean
  /** Standard deviation of noise before each step (langevin_dynamics_noise). */
  noise: number
  /** The step size is learned (mcmc_step_size_learnable). */
  learnAlpha: boolean
  /** Largest change of an element in a step; 0 for no limit (clamp_futures_grad_max_change). */
  clamp: number
  /** Largest magnitude of a state's elements; 0 for no limit (absolute_clamp). */
  absoluteClamp: number
  /** Divides every state after its step; 0 for no division (sharpen_predicted_distribution). */
  sharpen: number
  /** Weight of softplus(E(truth) - E(before the last step)); 0 for none (contrastive_loss_coeff). */
  contrast: number
  /** Weight of a penalty on a last step that raises the energy (unrolled.ts, `rise`); 0 for none. */
  rise: number
  /** The replay buffer; null for none (mcmc_replay_buffer). */
  replay: ReplayOptions | null
}

/** Stage S1 as published. The number of steps is the model's own. */
export const stageOne: Omit<OptimizeOptions, 'steps'> = {
  horizon: 0,
  through: false,
  truncate: false,
  stepSizeScale: 1,
  repeats: 0,
  leastRepeats: 0,
  repeatLast: false,
  noise: 0,
  learnAlpha: true,
  clamp: 0,
  absoluteClamp: 0,
  sharpen: 0,
  contrast: 0,
  rise: 0,
  replay: null,
}

/** Stage S2 as published. Its step size, which is not an option here, is 5. */
export const stageTwo: OptimizeOptions = {
  ...stageOne,
  steps: 1,
  through: true,
  truncate: true,
  stepSizeScale: 2,
  repeats: 2,
  leastRepeats: 2,
  noise: 3,
  learnAlpha: false,
  replay: { size: 192, share: 0.5 },
}

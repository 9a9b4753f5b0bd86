/**
 * Translates the reference's inference settings (`infer_*`) into the `refinement` object of a request with
 * the same results, candidate by candidate. docs/import.md has the table.
 */
import type { ModelConfig } from '../config.js'
import type { Settings } from './hyperparameters.js'

/** The fields of a request's `refinement` that the reference's settings determine. */
export interface ReferenceBudget {
  max_steps: number
  keep: 'last'
  candidates?: number
  select?: 'min' | 'max_gap' | 'max'
  step_size?: number
  step_size_on?: 'last_landscape'
  noise?: number
  noise_steps?: number
  accept_lower?: boolean
  landscape_steps?: number
}

/** Throws `invalid_checkpoint` where a setting has the wrong type or an unknown choice. */
export function budgetOf(settings: Settings, config: ModelConfig): ReferenceBudget {
  const trainedNoise = settings.number('langevin_dynamics_noise', 0)
  if (!settings.flag('infer_ebt_advanced', false))
    return {
      max_steps: config.steps,
      keep: 'last',
      ...(trainedNoise !== 0 && { noise: trainedNoise }),
    }
  const { first, ...steps } = scheduleOf(settings, config)
  const alpha = settings.number('infer_ebt_override_alpha', 0)
  const candidates = settings.count('infer_generated_samples', 1)
  const noise = settings.number('infer_langevin_dynamics_noise', 0) || trainedNoise
  const several = config.landscapes > 1
  return {
    ...steps,
    keep: 'last',
    ...(candidates > 1 && {
      candidates,
      select: settings.choice('infer_energy_sampling_technique', ['min', 'max_gap', 'max'], 'min'),
    }),
    ...(alpha > 0 && { step_size: alpha }),
    ...(alpha > 0 &&
      several &&
      settings.flag('infer_alpha_final_landscape', false) && { step_size_on: 'last_landscape' }),
    ...(noise !== 0 && { noise }),
    ...(noise !== 0 && settings.flag('infer_langevin_first_step', false) && { noise_steps: first }),
    ...(settings.flag('infer_accept_lower_energies', false) && { accept_lower: true }),
  }
}

/** Steps in total, steps on each landscape, and how many steps the reference counts as the first one. */
function scheduleOf(
  settings: Settings,
  config: ModelConfig,
): { max_steps: number; landscape_steps?: number; first: number } {
  const asked = settings.count('infer_ebt_num_steps', 1)
  if (config.conditioning === 'none') {
    const trained = settings.count('mcmc_num_steps', config.steps)
    return { max_steps: asked > 1 ? asked : trained, first: 1 }
  }
  const inner = asked !== 1 ? asked : Math.max(1, settings.count('randomize_mcmc_num_steps_min', 0))
  const { landscapes } = config
  if (landscapes === 1) return { max_steps: inner, first: inner }
  if (settings.flag('infer_steps_final_landscape', false))
    return { max_steps: landscapes - 1 + inner, first: 1 }
  return {
    max_steps: landscapes * inner,
    first: inner,
    ...(inner > 1 && { landscape_steps: inner }),
  }
}

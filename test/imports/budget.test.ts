/** Translates the reference's infer_* settings into budgets, and checks the landscape, size and noise of each step. */
import { describe, expect, it } from 'vitest'
import { BasinError } from '../../src/errors.js'
import { budgetOf } from '../../src/model/import/reference-budget.js'
import { Settings, type Hyperparameters } from '../../src/model/import/hyperparameters.js'
import { planStep } from '../../src/refine/budget.js'
import { resolveBudget } from '../../src/refine/presets.js'
import { configOf } from '../support/models.js'

const vocab = { space: 'vocab', block: 1, embed: 'vocab_to_embed', start: 'noise' } as const
const head = { kind: 'head', direction: 'exact' } as const
const model = (landscapes: number) =>
  configOf({
    answer: vocab,
    energy: head,
    landscapes,
    steps: landscapes,
    conditioning: landscapes > 1 ? 'time_embed' : 'none',
  })
const caps = { maxSteps: 100, maxSeconds: 10, candidates: 8 }

/** [landscape, step size, noise] of every step. */
function plans(landscapes: number, settings: Hyperparameters) {
  const config = model(landscapes)
  const asked = budgetOf(new Settings({ mcmc_num_steps: 2, ...settings }, 'test'), config)
  const budget = resolveBudget(config, undefined, asked, caps)
  return Array.from({ length: budget.maxSteps ?? 0 }, (_, step) => {
    const { landscape, noise, stepSize } = planStep(budget, step, landscapes)
    return [landscape, stepSize ?? 'trained', noise]
  })
}

const advanced = { infer_ebt_advanced: true, infer_ebt_num_steps: 2 }
const trained = 'trained'

describe('infer_* settings', () => {
  it('plain inference takes the trained steps with the noise of training', () => {
    expect(plans(2, { langevin_dynamics_noise: 3 })).toEqual([
      [0, trained, 3],
      [1, trained, 3],
    ])
  })

  it('infer_ebt_num_steps counts all steps without landscapes, and steps per landscape with them', () => {
    expect(plans(1, { ...advanced, infer_ebt_num_steps: 3 })).toHaveLength(3)
    expect(plans(1, { ...advanced, infer_ebt_num_steps: 1 })).toHaveLength(2)
    expect(plans(2, advanced).map(([landscape]) => landscape)).toEqual([0, 0, 1, 1])
  })

  it('infer_steps_final_landscape repeats the last landscape only', () => {
    const asked = { ...advanced, infer_ebt_num_steps: 3, infer_steps_final_landscape: true }
    expect(plans(2, asked).map(([landscape]) => landscape)).toEqual([0, 1, 1, 1])
  })

  it('one step means the smallest number that training drew, on every landscape', () => {
    const asked = { ...advanced, infer_ebt_num_steps: 1, randomize_mcmc_num_steps_min: 2 }
    expect(plans(2, asked)).toHaveLength(4)
  })

  it('infer_alpha_final_landscape keeps the trained step size elsewhere', () => {
    const asked = { ...advanced, infer_ebt_override_alpha: 7, infer_alpha_final_landscape: true }
    expect(plans(2, asked).map(([, size]) => size)).toEqual([trained, trained, 7, 7])
    expect(plans(2, { ...advanced, infer_ebt_override_alpha: 7 })[0]).toEqual([0, 7, 0])
  })

  it('infer_langevin_first_step is the first landscape where there are several', () => {
    const asked = {
      ...advanced,
      infer_langevin_dynamics_noise: 0.5,
      infer_langevin_first_step: true,
    }
    expect(plans(2, asked).map(([, , noise]) => noise)).toEqual([0.5, 0.5, 0, 0])
    expect(plans(1, asked).map(([, , noise]) => noise)).toEqual([0.5, 0])
    const all = { ...advanced, infer_langevin_dynamics_noise: 0.5 }
    expect(plans(1, all).map(([, , noise]) => noise)).toEqual([0.5, 0.5])
  })

  it('samples, their selection and the acceptance of steps are translated', () => {
    const asked = budgetOf(
      new Settings(
        {
          ...advanced,
          infer_generated_samples: 5,
          infer_energy_sampling_technique: 'max_gap',
          infer_accept_lower_energies: true,
        },
        'test',
      ),
      model(1),
    )
    expect(asked).toMatchObject({ candidates: 5, select: 'max_gap', accept_lower: true })
    expect(asked.keep).toBe('last')
  })

  it.each([
    [
      'infer_energy_sampling_technique',
      { infer_generated_samples: 2, infer_energy_sampling_technique: 'best' },
    ],
    ['infer_ebt_num_steps', { infer_ebt_num_steps: 'two' }],
  ])('refuses a wrong %s by name', (name, settings) => {
    const act = () => plans(1, { ...advanced, ...settings })
    expect(act).toThrow(BasinError)
    expect(act).toThrow(name)
  })
})

/** The flags of `basin train` that choose the objective; published names are in parentheses. */
import { Option, type Command } from 'commander'
import { objectiveDefaults, objectiveNames } from '../../train/objectives/choose-objective.js'
import { contrasts } from '../../train/objectives/contrastive.js'
import { capacities } from '../../train/objectives/regularized.js'
import { integer, real } from './number-parsers.js'

/** A flag with its objectives and meaning, its parser and its default. */
const number = (
  flags: string,
  text: string,
  parse: (t: string) => number,
  value?: number,
): Option => {
  const option = new Option(flags, text).argParser(parse)
  return value === undefined ? option : option.default(value)
}

export function addObjectiveFlags(command: Command): Command {
  const options = [
    new Option('--objective <name>', 'how the energy is trained; feed-forward trains a control')
      .choices(objectiveNames)
      .default(objectiveDefaults.objective),
    ...optimizeFlags(),
    number(
      '--noise <std>',
      'optimize, divergence: noise before each step (langevin_dynamics_noise); equilibrium: on every start',
      real(0),
    ),
    number(
      '--least-noise <std>',
      'equilibrium: every row draws the deviation of its noise from here to --noise',
      real(0),
    ),
    number('--still <share>', 'equilibrium: share of rows that start without noise', real(0, 1)),
    number(
      '--lean <x>',
      'equilibrium: noise leans towards the truth, by up to so many deviations',
      real(0),
    ),
    number(
      '--damping <share>',
      'equilibrium: share of the state that every step keeps: y <- F + share (y - F)',
      real(0, 1),
    ),
    number('--path-noise <std>', 'equilibrium: noise added in every step', real(0)),
    number(
      '--best-of <m>',
      'equilibrium: of m descents to the first loss, train on the one nearest to the truth',
      integer(1, 64),
    ),
    number(
      '--trim <share>',
      'equilibrium: leave out of an update so many of its rows, those of most loss',
      real(0, 0.99),
    ),
    number(
      '--replay <rows>',
      'optimize, divergence, equilibrium: rows of the replay buffer, 0 for none (mcmc_replay_buffer_size)',
      integer(0),
    ),
    number(
      '--replay-share <x>',
      'replayed rows per fresh row (mcmc_replay_buffer_sample_bs_percent)',
      real(0, 16),
      objectiveDefaults.replayShare,
    ),
    new Option(
      '--replay-unsolved',
      'equilibrium: rows leave the replay buffer once their answer is right',
    ),
    new Option(
      '--by-answer',
      'equilibrium: every answer counts the same in the loss, however many of its positions are blank',
    ),
    number(
      '--context-loss <x>',
      'equilibrium: weight of the cross-entropy of the next token, read from the observed stream',
      real(0),
    ),
    number(
      '--own-answers <x>',
      "equilibrium: weight of a term that lowers the energy of true answers below that of the model's own",
      real(0),
    ),
    number(
      '--horizon <steps>',
      'largest number of steps before those with a loss, drawn in each update (default: equilibrium, amortized: 4, optimize: 0)',
      integer(0),
    ),
    number(
      '--loss-steps <steps>',
      'equilibrium: number of steps with a loss',
      integer(1),
      objectiveDefaults.lossSteps,
    ),
    new Option('--contrast <name>', 'contrastive: the loss')
      .choices(contrasts)
      .default(objectiveDefaults.contrast),
    number(
      '--negatives <n>',
      'contrastive: wrong answers for each true one',
      integer(1, 4096),
      objectiveDefaults.negatives,
    ),
    number(
      '--corruption <p>',
      'contrastive: probability that a position of a wrong answer is replaced',
      real(0, 1),
      objectiveDefaults.corruption,
    ),
    number(
      '--temperature <t>',
      'infonce: divides the energies',
      real(1e-6),
      objectiveDefaults.temperature,
    ),
    number(
      '--margin <e>',
      'hinge: energy by which wrong answers should exceed true ones',
      real(0),
      objectiveDefaults.margin,
    ),
    number(
      '--penalty <x>',
      'contrastive: weight of the mean squared energy',
      real(0),
      objectiveDefaults.penalty,
    ),
    number(
      '--variance <x>',
      'regularized: weight of the variance term',
      real(0),
      objectiveDefaults.variance,
    ),
    number(
      '--covariance <x>',
      'regularized: weight of the covariance term',
      real(0),
      objectiveDefaults.covariance,
    ),
    new Option('--capacity <name>', 'regularized: the term that limits capacity')
      .choices(capacities)
      .default(objectiveDefaults.capacity),
    number(
      '--capacity-weight <x>',
      'regularized: weight of the capacity term',
      real(0),
      objectiveDefaults.capacityWeight,
    ),
    number(
      '--readout-weight <x>',
      'positives, contrastive, regularized: weight of the loss that trains the read-out',
      real(0),
      objectiveDefaults.readoutWeight,
    ),
    new Option('--teacher <dir>', 'amortized: directory of the model whose descent is learned'),
    number(
      '--own <share>',
      "amortized: share of updates at states of the model's own descent",
      real(0, 1),
      objectiveDefaults.own,
    ),
  ]
  for (const option of options) command.addOption(option)
  return command
}

const optimizeFlags = (): Option[] => [
  new Option(
    '--stage <name>',
    'optimize: the published stage that gives the defaults of flags below',
  )
    .choices(['s1', 's2'])
    .default(objectiveDefaults.stage),
  number(
    '--steps <n>',
    'optimize, divergence: descent steps of an update (mcmc_num_steps; default: config.steps, s2: 1)',
    integer(1, 4096),
  ),
  new Option(
    '--through',
    'optimize: differentiate through all steps (no_mcmc_detach); equilibrium: through those with a loss',
  ),
  new Option('--last-loss', 'equilibrium: only the last of the steps with a loss has one'),
  new Option('--truncate', 'optimize: loss and derivative of the last step only (truncate_mcmc)'),
  number(
    '--step-size-scale <s>',
    'optimize: each position draws its step size from alpha / s to alpha s (randomize_mcmc_step_size_scale)',
    real(1),
  ),
  number(
    '--repeats <n>',
    'optimize: each step is taken 1 to 1 + n times (randomize_mcmc_num_steps)',
    integer(0, 4096),
  ),
  number(
    '--least-repeats <n>',
    'optimize: least number of times, in place of 1 (randomize_mcmc_num_steps_min)',
    integer(0, 4096),
  ),
  new Option(
    '--repeat-last',
    'optimize: only the last step is repeated (randomize_mcmc_num_steps_final_landscape)',
  ),
  new Option('--fixed-alpha', 'optimize: do not learn the step size (mcmc_step_size_learnable)'),
  number(
    '--clamp <x>',
    'optimize: largest change of an element in a step (clamp_futures_grad_max_change)',
    real(0),
  ),
  number(
    '--absolute-clamp <x>',
    'optimize: largest magnitude of a state (absolute_clamp)',
    real(0),
  ),
  number(
    '--sharpen <t>',
    'optimize: divides states after each step (sharpen_predicted_distribution)',
    real(0),
  ),
  number(
    '--contrast-weight <x>',
    'optimize: weight of the contrastive term (contrastive_loss_coeff)',
    real(0),
  ),
  number(
    '--rise-weight <x>',
    'optimize: weight of a penalty on a last step that raises the energy',
    real(0),
  ),
]

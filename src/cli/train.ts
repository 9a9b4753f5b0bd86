/** `basin train`: data, objective and optimizer by flags; architecture by a config.json. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  appendFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Option, type Command } from 'commander'
import { loadBackend, type BackendChoice } from '../energy/tfjs/backend.js'
import { BasinError } from '../errors.js'
import { parameterCount } from '../model/checkpoint.js'
import { parseConfig, type ModelConfig } from '../model/config.js'
import { openTokenizer } from '../tokenizer/tokenizer.js'
import { openData, type TrainingData } from '../train/source.js'
import { Training, type UpdateReport, type ValidationReport } from '../train/loop.js'
import { equilibrium } from '../train/objectives/equilibrium.js'
import { feedForward } from '../train/objectives/feed-forward.js'
import type { Objective } from '../train/objectives/objective.js'
import { optimize } from '../train/objectives/optimize.js'
import { integer, integerList, real } from './numbers.js'

interface Flags {
  config: string
  tokenizer: string
  data: string[]
  valid: string[]
  out: string
  objective: 'equilibrium' | 'optimize' | 'feed-forward'
  updates: number
  batch: number
  window: number
  lr: number
  warmup: number
  clip: number
  weightDecay: number
  beta2: number
  alpha: number
  alphaMultiplier: number
  horizon: number
  lossSteps: number
  steps?: number
  seed: number
  relabel?: string
  budgets: number[]
  validRows: number
  validateEvery: number
  saveEvery: number
  maxSeconds: number
  backend: BackendChoice
  threads: number
  strict?: boolean
}

export function registerTrain(program: Command): void {
  program
    .command('train')
    .description('Train a model; run again with the same flags to resume')
    .requiredOption('--config <file>', 'config.json of the model to train')
    .requiredOption('--tokenizer <dir>', 'directory with tokenizer.json')
    .requiredOption(
      '--data <files...>',
      'text files, or JSON lines {prompt?, template?, completion}',
    )
    .requiredOption('--valid <files...>', 'held-out data of the same kind')
    .requiredOption('--out <dir>', 'where the model and its resumable state go')
    .addOption(
      new Option('--objective <name>', 'how the energy is shaped; feed-forward trains the control')
        .choices(['equilibrium', 'optimize', 'feed-forward'])
        .default('equilibrium'),
    )
    .option('--updates <n>', 'updates of the whole run', integer(1), 2000)
    .option('--batch <rows>', 'rows per update', integer(1), 32)
    .option('--window <tokens>', 'predicted tokens per row of text', integer(1), 128)
    .option('--lr <rate>', 'peak learning rate', real(0), 1e-3)
    .option('--warmup <updates>', 'updates of linear warm-up', integer(0), 100)
    .option('--clip <norm>', 'largest global gradient norm', real(0), 1)
    .option(
      '--weight-decay <rate>',
      'AdamW weight decay, matrices only, never alpha',
      real(0),
      0.01,
    )
    .option('--beta2 <rate>', 'AdamW beta2', real(0), 0.95)
    .option('--alpha <size>', 'initial step size (reference: mcmc_step_size)', real(0), 1)
    .option('--alpha-multiplier <x>', 'learning rate of alpha relative to the rest', real(0), 3)
    .option(
      '--horizon <steps>',
      'equilibrium: most steps before the loss, drawn per update',
      integer(0),
      4,
    )
    .option('--loss-steps <steps>', 'equilibrium: steps with a loss', integer(1), 2)
    .option(
      '--steps <steps>',
      'optimize: descent steps per update (default: config.steps)',
      integer(1),
    )
    .option('--seed <n>', 'seed of weights, batches and draws', integer(0), 1)
    .option(
      '--relabel <characters>',
      'JSON lines: permute these one-character tokens in every example',
    )
    .option(
      '--budgets <list>',
      'steps at which validation looks',
      integerList,
      [1, 2, 4, 8, 16, 32],
    )
    .option('--valid-rows <n>', 'rows of validation', integer(1), 256)
    .option('--validate-every <updates>', 'updates between validations', integer(1), 200)
    .option('--save-every <updates>', 'updates between checkpoints', integer(1), 100)
    .option('--max-seconds <s>', 'stop, saved, after this much training', real(0), Infinity)
    .addOption(
      new Option('--backend <name>', 'TensorFlow.js backend')
        .choices(['auto', 'wasm', 'node', 'node-gpu'])
        .default('auto'),
    )
    .option('--threads <n>', 'threads of the wasm backend', integer(1), 1)
    .option('--strict', 'fail at the first bad line of data')
    .action((flags: Flags) => train(flags))
}

function configOf(flags: Flags): ModelConfig {
  const json = JSON.parse(readFileSync(flags.config, 'utf8')) as Record<string, unknown>
  const control = flags.objective === 'feed-forward'
  return parseConfig(
    control ? { ...json, name: `${String(json['name'])}-control`, feed_forward: true } : json,
    flags.config,
  )
}

function objectiveOf(flags: Flags, config: ModelConfig): Objective {
  if (flags.objective === 'feed-forward') return feedForward
  if (flags.objective === 'optimize') return optimize({ steps: flags.steps ?? config.steps })
  return equilibrium({ horizon: flags.horizon, lossSteps: flags.lossSteps })
}

async function train(flags: Flags): Promise<void> {
  const config = configOf(flags)
  const tokenizer = openTokenizer(flags.tokenizer)
  if (tokenizer.vocabSize !== config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: flags.tokenizer,
      reason: `has ${tokenizer.vocabSize} tokens, ${flags.config} says ${config.vocab_size}`,
    })
  const data = openData({
    ...flags,
    rows: flags.batch,
    relabel: Array.from(flags.relabel ?? ''),
    config,
    tokenizer,
  })
  const { tf, name } = await loadBackend(flags.backend, flags.threads)
  mkdirSync(flags.out, { recursive: true })
  for (const file of readdirSync(flags.tokenizer).filter((f) => f.startsWith('tokenizer.')))
    if (flags.tokenizer !== flags.out)
      copyFileSync(join(flags.tokenizer, file), join(flags.out, file))

  const view = progressView(flags, data)
  let interrupted = false
  process.once('SIGINT', () => (interrupted = true))
  process.once('SIGTERM', () => (interrupted = true))
  const training = new Training(tf, {
    ...flags,
    config,
    objective: objectiveOf(flags, config),
    optimizer: { ...flags, learningRate: flags.lr, beta1: 0.9 },
    batch: data.batch,
    validation: data.validation,
    onUpdate: view.update,
    onValidation: view.validation,
    stop: (seconds) => interrupted || seconds >= flags.maxSeconds,
  })
  const millions = (parameterCount(config) / 1e6).toFixed(2)
  console.error(`${config.name}: ${millions}M parameters, ${data.describe}, on ${name}`)
  for (const { line, reason } of data.bad.slice(0, 5))
    console.error(`left out line ${line}: ${reason}`)
  if (training.update > 0) console.error(`resumed at update ${training.update}`)
  await training.run()
  view.close()
}

interface View {
  update: (report: UpdateReport) => void
  validation: (report: ValidationReport) => void
  close: () => void
}

/** A bar on a terminal, a line now and then elsewhere; every validation also goes to log.jsonl. */
function progressView(flags: Flags, data: TrainingData): View {
  const bar = process.stderr.isTTY
    ? new SingleBar({
        format: '{bar} {value}/{total} | {info} | ETA {eta_formatted}',
        clearOnComplete: false,
        hideCursor: true,
      })
    : null
  const log = join(flags.out, 'log.jsonl')
  if (!existsSync(flags.out)) mkdirSync(flags.out, { recursive: true })
  let since = 0
  const bits = (nats: number): string => {
    const perByte =
      data.bytesPerPosition > 0
        ? ` ${(nats / Math.LN2 / data.bytesPerPosition).toFixed(3)} bits/byte`
        : ''
    return `${nats.toFixed(4)} nats${perByte}`
  }
  return {
    update(report) {
      since ||= report.seconds
      const speed = report.positions / Math.max(1e-9, report.seconds - since)
      since = report.seconds
      const last = report.losses.at(-1) ?? NaN
      const rate = Number.isFinite(speed) && speed < 1e9 ? `, ${speed.toFixed(0)} positions/s` : ''
      const info = `loss ${bits(last)}, gradient ${report.gradientNorm.toFixed(2)}${rate}`
      if (bar && !bar.isActive) bar.start(report.updates, report.update, { info })
      bar?.update(report.update, { info })
      const eta = ((report.updates - report.update) * report.seconds) / report.update / 60
      if (!bar && report.update % 20 === 0)
        console.error(
          `${report.update}/${report.updates} ${report.seconds.toFixed(0)}s ${info}, ETA ${eta.toFixed(0)} min`,
        )
    },
    validation(report) {
      const { update, scores } = report
      appendFileSync(log, `${JSON.stringify(report)}\n`)
      const table = scores.map(
        (s) =>
          `${s.steps}: ${bits(s.nats)}, ${(100 * s.accuracy).toFixed(1)} % right, ${(100 * s.solved).toFixed(1)} % whole, E ${s.energy.toFixed(3)}`,
      )
      console.error(`\nvalidation at update ${update} (steps: result)\n  ${table.join('\n  ')}`)
    },
    close: () => bar?.stop(),
  }
}

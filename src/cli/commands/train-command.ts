/** `basin train`: trains a model. Flags give data, objective and optimizer; a config.json the network. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { loadBackend, type BackendChoice } from '../../energy/tfjs/backend.js'
import { Profile } from '../../energy/tfjs/profile.js'
import { BasinError } from '../../errors.js'
import {
  openCheckpoint,
  parameterCount,
  tensorShapes,
  type Checkpoint,
} from '../../model/checkpoint.js'
import { parseConfig, type ModelConfig } from '../../model/config.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { anchored } from '../../train/initial-weights.js'
import { Training } from '../../train/loop.js'
import { optimizers, type OptimizerName } from '../../train/optimizer.js'
import type { GivenShare } from '../../train/data/given-positions.js'
import { openData, type TrainingData } from '../../train/data/training-data.js'
import type { TrainingSettings } from '../../train/training-state.js'
import {
  backendOption,
  backendThreadsOption,
  budgetsOption,
  DATA_HELP,
  givenOption,
} from '../options/backend-options.js'
import { integer, real } from '../options/number-parsers.js'
import {
  addObjectiveFlags,
  chooseObjective,
  type ObjectiveFlags,
} from '../options/objective-options.js'
import { TrainingMetrics } from '../output/training-metrics.js'
import { TrainingView } from '../output/training-view.js'

/** The tensor whose shape depends on the length of a block. */
const QUERIES = 'answer.query.weight'

/** So many bad lines of data are printed one by one; of the others, only the number. */
const MAX_SHOWN_BAD_LINES = 5

interface Flags extends ObjectiveFlags {
  config: string
  tokenizer: string
  data: string[]
  valid: string[]
  out: string
  init?: string
  updates: number
  batch: number
  window: number
  optimizer: OptimizerName
  lr: number
  warmup: number
  clip: number
  weightDecay: number
  beta2: number
  alpha: number
  alphaMultiplier: number
  muonStep: number
  seed: number
  name?: string
  relabel?: string
  symmetries?: true
  given?: GivenShare
  average?: number
  budgets: number[]
  validRows: number
  validateEvery: number
  saveEvery: number
  maxSeconds: number
  backend: BackendChoice
  threads: number
  profile?: boolean
  strict?: boolean
  cache?: string
  collapseAt: number
  metricsPort?: number
  metricsHost: string
}

export function registerTrain(program: Command): void {
  const command = program
    .command('train')
    .description('train a model; the same command again resumes where it stopped')
    .requiredOption('--config <file>', 'config.json of the model to train')
    .requiredOption('--tokenizer <dir>', 'directory with tokenizer.json')
    .requiredOption('--data <files...>', DATA_HELP)
    .requiredOption('--valid <files...>', 'held-out data of the same kind')
    .requiredOption('--out <dir>', 'directory for the model and its resumable state')
    .option('--name <name>', 'what requests call the model (default: the name in --config)')
    .option(
      '--init <dir>',
      'directory of a model whose weights the run starts from; its blocks may have another length',
    )
    .option('--updates <n>', 'number of updates of the whole run', integer(1), 2000)
    .option('--batch <rows>', 'rows of an update', integer(1), 32)
    .option('--window <tokens>', 'predicted tokens in a row of text', integer(1), 128)
    .addOption(
      new Option(
        '--optimizer <name>',
        'muon: Muon for the matrices of the layers, AdamW for the rest',
      )
        .choices(optimizers)
        .default('adamw'),
    )
    .option('--lr <rate>', 'peak learning rate', real(0), 1e-3)
    .option('--warmup <updates>', 'updates of linear warm-up', integer(0), 100)
    .option('--clip <norm>', 'largest global gradient norm', real(0), 1)
    .option(
      '--weight-decay <rate>',
      'AdamW weight decay of matrices; vectors and alpha have none',
      real(0),
      0.01,
    )
    .option('--beta2 <rate>', 'AdamW beta2', real(0), 0.95)
    .option('--alpha <size>', 'initial step size (reference: mcmc_step_size)', real(0), 1)
    .option('--alpha-multiplier <x>', 'learning rate of alpha relative to the rest', real(0), 3)
    .option(
      '--muon-step <x>',
      "root mean square of Muon's steps, relative to the learning rate",
      real(0),
      1,
    )
    .option('--seed <n>', 'seed of weights, batches and random draws', integer(0), 1)
    .option(
      '--relabel <characters>',
      'JSON lines: permute these characters, each a token, among themselves in every example',
    )
    .option(
      '--symmetries',
      'JSON lines whose answers are sudoku boards: rearrange every example by a symmetry of the board',
    )
    .addOption(givenOption())
    .option(
      '--average <rate>',
      'the model is the moving average of the weights, of this rate (0.999: over 1,000 updates)',
      real(0, 1),
    )
    .addOption(budgetsOption('numbers of descent steps at which validation measures'))
    .option('--valid-rows <n>', 'number of validation rows', integer(1), 256)
    .option('--validate-every <updates>', 'updates between validations', integer(1), 200)
    .option('--save-every <updates>', 'updates between checkpoints', integer(1), 100)
    .addOption(
      new Option('--max-seconds <s>', 'save and stop after so many seconds of training')
        .argParser(real(0))
        .default(Infinity, 'no limit'),
    )
    .addOption(backendOption())
    .addOption(backendThreadsOption())
    .option('--profile', 'print the time of each kernel at the end')
    .option('--strict', 'fail at the first bad line of data')
    .option('--cache <dir>', 'keep the tokenised text in this directory for later runs')
    .option(
      '--collapse-at <share>',
      'end the run if the spread of energies falls below this share of its first value; 0: never',
      real(0, 1),
      0.1,
    )
    .option('--metrics-port <n>', 'serve Prometheus metrics on this port', integer(0, 65535))
    .option('--metrics-host <name>', 'address that the metrics port listens on', '127.0.0.1')
    .action((flags: Flags) => train(flags))
  addObjectiveFlags(command)
}

function configOf(flags: Flags): ModelConfig {
  const json = JSON.parse(readFileSync(flags.config, 'utf8')) as Record<string, unknown>
  const control = flags.objective === 'feed-forward'
  const named = { ...json, name: flags.name ?? String(json['name']) }
  return parseConfig(
    control ? { ...named, name: `${named.name}-control`, feed_forward: true } : named,
    flags.config,
  )
}

/** Flags that may change when a run is resumed; its numbers depend on all others. */
const changeableFlags = new Set(
  'config name tokenizer data valid out init updates budgets validRows validateEvery saveEvery maxSeconds backend threads profile collapseAt metricsPort metricsHost cache teacher seed'.split(
    ' ',
  ),
)

/** The settings that a resumed run must have in common with its start, by the names of their flags. */
const settingsOf = (flags: Flags): TrainingSettings =>
  Object.fromEntries(
    Object.entries(flags)
      .filter(([name]) => !changeableFlags.has(name))
      .map(([name, value]) => [
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
        typeof value === 'object' ? JSON.stringify(value) : (value as string | number | boolean),
      ]),
  )

function dataOf(flags: Flags, config: ModelConfig): TrainingData {
  const tokenizer = openTokenizer(flags.tokenizer)
  if (tokenizer.vocabSize !== config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: flags.tokenizer,
      reason: `it has ${tokenizer.vocabSize} tokens, and vocab_size in ${flags.config} is ${config.vocab_size}; they must be equal`,
    })
  const { cache: directory } = flags
  return openData({
    ...flags,
    rows: flags.batch,
    relabel: Array.from(flags.relabel ?? ''),
    ...(directory !== undefined && { tokenCache: { directory, tokenizer: flags.tokenizer } }),
    config,
    tokenizer,
  })
}

/** Makes the directory of the model and copies the tokenizer there. */
function prepareOut({ out, tokenizer }: Flags): void {
  mkdirSync(out, { recursive: true })
  if (resolve(tokenizer) === resolve(out)) return
  for (const file of readdirSync(tokenizer).filter((name) => name.startsWith('tokenizer.')))
    copyFileSync(join(tokenizer, file), join(out, file))
}

/**
 * The weights of `--init`. Position queries of a model with other blocks are left out, so that they are drawn
 * anew. Throws `invalid_request` if others have other shapes than `--config` says.
 */
function initialOf(init: string, config: ModelConfig): Checkpoint['tensors'] {
  const { config: before, tensors: all } = openCheckpoint(init)
  const sameBlock = before.answer.block === config.answer.block
  const tensors = new Map([...all].filter(([name]) => sameBlock || name !== QUERIES))
  for (const [name, shape] of tensorShapes(config)) {
    const given = tensors.get(name)
    if (given && given.shape.join() !== shape.join())
      throw new BasinError('invalid_request', {
        param: '--init',
        reason: `${name} is [${given.shape.join(', ')}] in ${init}, and [${shape.join(', ')}] in --config`,
      })
  }
  return config.answer.anchor ? anchored(tensors, config) : tensors
}

async function train(flags: Flags): Promise<void> {
  const config = configOf(flags)
  const data = dataOf(flags, config)
  const backend = await loadBackend(flags.backend, flags.threads)
  const { tf, name, reason } = backend
  prepareOut(flags)
  const view = new TrainingView(flags.out, data.bytesPerPosition)
  const { objective } = flags
  const metrics = new TrainingMetrics({ model: config.name, objective, backend: name })
  let interrupted = false
  process.once('SIGINT', () => (interrupted = true))
  process.once('SIGTERM', () => (interrupted = true))
  const training = new Training(tf, {
    ...flags,
    ...(flags.init !== undefined && { initial: initialOf(flags.init, config) }),
    ...chooseObjective(flags, config, tf),
    config,
    settings: settingsOf(flags),
    optimizer: { ...flags, learningRate: flags.lr, beta1: 0.9 },
    batch: data.batch,
    validation: data.validation,
    onUpdate: (report) => {
      view.update(report)
      metrics.update(report)
    },
    onValidation: (report) => {
      view.validation(report)
      metrics.validation(report)
    },
    stop: (seconds) => interrupted || seconds >= flags.maxSeconds,
  })
  const { metricsPort, metricsHost } = flags
  const server = metricsPort === undefined ? null : await metrics.listen(metricsPort, metricsHost)
  if (server) {
    const { address, port } = server.address() as AddressInfo
    console.error(`metrics on http://${address}:${port}/metrics`)
  }
  const millions = (parameterCount(config) / 1e6).toFixed(2)
  console.error(`${config.name}: ${millions}M parameters, ${data.describe}, on ${name} (${reason})`)
  reportBadLines(data)
  if (training.update > 0) console.error(`resumed at update ${training.update}`)
  const profile = flags.profile ? new Profile(backend) : null
  try {
    await training.run()
  } catch (error) {
    throw asWriteError(error, flags.out)
  } finally {
    view.close()
    if (profile) console.error(profile.table())
    server?.close()
  }
}

/** `not_written` if a disk, a quota or the largest file size was exceeded, otherwise the error itself. */
function asWriteError(error: unknown, path: string): unknown {
  const { code = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)
    ? new BasinError('not_written', { path, reason: code })
    : error
}

function reportBadLines({ bad, badCount }: TrainingData): void {
  for (const { path, line, reason } of bad.slice(0, MAX_SHOWN_BAD_LINES))
    console.error(`left out ${path} line ${line}: ${reason}`)
  if (badCount > 0) console.error(`left out ${badCount} lines in all`)
}

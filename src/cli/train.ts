/** `basin train`: data, objective and optimizer by flags; architecture by a config.json. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { backendChoices, loadBackend, type BackendChoice } from '../energy/tfjs/backend.js'
import { Profile } from '../energy/tfjs/profile.js'
import { BasinError } from '../errors.js'
import {
  openCheckpoint,
  parameterCount,
  tensorShapes,
  type Checkpoint,
} from '../model/checkpoint.js'
import { parseConfig, type ModelConfig } from '../model/config.js'
import { openTokenizer } from '../tokenizer/tokenizer.js'
import { anchored } from '../train/initial.js'
import { Training } from '../train/loop.js'
import { optimizers, type OptimizerName } from '../train/optimizer.js'
import { openData, type TrainingData } from '../train/source.js'
import type { RunSettings } from '../train/state.js'
import { integer, integerList, real } from './numbers.js'
import { addObjectiveFlags, chooseObjective, type ObjectiveFlags } from './objectives.js'
import { TrainingMetrics } from './training-metrics.js'
import { TrainingView } from './training-view.js'

/** Bad lines shown one by one. */
const shownBadLines = 5

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
  relabel?: string
  symmetries?: true
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
    .description('Train a model; run again with the same flags to resume')
    .requiredOption('--config <file>', 'config.json of the model to train')
    .requiredOption('--tokenizer <dir>', 'directory with tokenizer.json')
    .requiredOption(
      '--data <files...>',
      'text files, or JSON lines {prompt?, template?, completion}',
    )
    .requiredOption('--valid <files...>', 'held-out data of the same kind')
    .requiredOption('--out <dir>', 'where the model and its resumable state go')
    .option('--init <dir>', 'model whose weights the run starts from, in place of random ones')
    .option('--updates <n>', 'updates of the whole run', integer(1), 2000)
    .option('--batch <rows>', 'rows per update', integer(1), 32)
    .option('--window <tokens>', 'predicted tokens per row of text', integer(1), 128)
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
      'AdamW weight decay, matrices only, never alpha',
      real(0),
      0.01,
    )
    .option('--beta2 <rate>', 'AdamW beta2', real(0), 0.95)
    .option('--alpha <size>', 'initial step size (reference: mcmc_step_size)', real(0), 1)
    .option('--alpha-multiplier <x>', 'learning rate of alpha relative to the rest', real(0), 3)
    .option('--muon-step <x>', "root mean square of Muon's steps, in learning rates", real(0), 1)
    .option('--seed <n>', 'seed of weights, batches and draws', integer(0), 1)
    .option(
      '--relabel <characters>',
      'JSON lines: permute these one-character tokens in every example',
    )
    .option(
      '--symmetries',
      'JSON lines whose answers are sudoku boards: rearrange every example by a symmetry of the board',
    )
    .option(
      '--average <rate>',
      'the model is the moving average of the weights, of this rate (0.999: over 1,000 updates)',
      real(0, 1),
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
        .choices(backendChoices)
        .default('auto'),
    )
    .option('--threads <n>', 'threads of the native and wasm backends', integer(1), 1)
    .option('--profile', 'at the end, say which kernels the time went to')
    .option('--strict', 'fail at the first bad line of data')
    .option('--cache <dir>', 'keep the tokenised data there; read again only if files change')
    .option(
      '--collapse-at <share>',
      'end the run where the spread of energies falls below this share of its first; 0 never',
      real(0, 1),
      0.1,
    )
    .option('--metrics-port <n>', 'serve Prometheus metrics while training', integer(0, 65535))
    .option('--metrics-host <name>', 'address to serve them on', '127.0.0.1')
    .action((flags: Flags) => train(flags))
  addObjectiveFlags(command)
}

function configOf(flags: Flags): ModelConfig {
  const json = JSON.parse(readFileSync(flags.config, 'utf8')) as Record<string, unknown>
  const control = flags.objective === 'feed-forward'
  return parseConfig(
    control ? { ...json, name: `${String(json['name'])}-control`, feed_forward: true } : json,
    flags.config,
  )
}

/** Flags that the numbers of a run do not depend on, or that may change between its sittings. */
const free = new Set(
  'config tokenizer data valid out init updates budgets validRows validateEvery saveEvery maxSeconds backend threads profile collapseAt metricsPort metricsHost cache teacher seed'.split(
    ' ',
  ),
)

/** What a resumed run must share with its earlier sittings, as the command line names it. */
const settingsOf = (flags: Flags): RunSettings =>
  Object.fromEntries(
    Object.entries(flags)
      .filter(([name]) => !free.has(name))
      .map(([name, value]) => [
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
        value as string | number | boolean,
      ]),
  )

function dataOf(flags: Flags, config: ModelConfig): TrainingData {
  const tokenizer = openTokenizer(flags.tokenizer)
  if (tokenizer.vocabSize !== config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: flags.tokenizer,
      reason: `has ${tokenizer.vocabSize} tokens, ${flags.config} says ${config.vocab_size}`,
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

/** The directory of the model to be, with its tokenizer. */
function prepareOut({ out, tokenizer }: Flags): void {
  mkdirSync(out, { recursive: true })
  if (resolve(tokenizer) === resolve(out)) return
  for (const file of readdirSync(tokenizer).filter((name) => name.startsWith('tokenizer.')))
    copyFileSync(join(tokenizer, file), join(out, file))
}

/** The weights of `--init`. Throws `invalid_request` where they are of another architecture. */
function initialOf(init: string, config: ModelConfig): Checkpoint['tensors'] {
  const { tensors } = openCheckpoint(init)
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
    throw ofWriting(error, flags.out)
  } finally {
    view.close()
    if (profile) console.error(profile.table())
    server?.close()
  }
}

/** A full disk, quota or largest file size, told with what it means for the run; else the error itself. */
function ofWriting(error: unknown, path: string): unknown {
  const { code = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)
    ? new BasinError('not_written', { path, reason: code })
    : error
}

function reportBadLines({ bad, badCount }: TrainingData): void {
  for (const { path, line, reason } of bad.slice(0, shownBadLines))
    console.error(`left out ${path} line ${line}: ${reason}`)
  if (badCount > 0) console.error(`left out ${badCount} lines in all`)
}

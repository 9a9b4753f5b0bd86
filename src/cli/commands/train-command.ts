/** `basin train`: trains a model. Flags give data, objective and optimizer; a config.json the network. */
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { Option, type Command } from 'commander'
import { Profile } from '../../energy/tfjs/profile.js'
import { openTraining, trainDefaults, type TrainSettings } from '../../library/training-run.js'
import { parameterCount } from '../../model/checkpoint.js'
import { optimizers } from '../../train/optimizer.js'
import type { TrainingData } from '../../train/data/training-data.js'
import {
  backendOption,
  backendThreadsOption,
  budgetsOption,
  DATA_HELP,
  givenOption,
} from '../options/backend-options.js'
import { integer, real } from '../options/number-parsers.js'
import { addObjectiveFlags } from '../options/objective-options.js'
import { TrainingMetrics } from '../output/training-metrics.js'
import { TrainingView } from '../output/training-view.js'

/** So many bad lines of data are printed one by one; of the others, only the number. */
const MAX_SHOWN_BAD_LINES = 5

interface Flags extends TrainSettings {
  config: string
  profile?: boolean
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
    .option(
      '--distances',
      'weights that are not from --init begin so that they tell distances between positions first, and places later',
    )
    .option(
      '--updates <n>',
      'number of updates of the whole run',
      integer(1),
      trainDefaults.updates,
    )
    .option('--batch <rows>', 'rows of an update', integer(1), trainDefaults.batch)
    .option(
      '--window <tokens>',
      'predicted tokens in a row of text',
      integer(1),
      trainDefaults.window,
    )
    .addOption(
      new Option(
        '--optimizer <name>',
        'muon: Muon for the matrices of the layers, AdamW for the rest',
      )
        .choices(optimizers)
        .default(trainDefaults.optimizer),
    )
    .option('--lr <rate>', 'peak learning rate', real(0), trainDefaults.lr)
    .option('--warmup <updates>', 'updates of linear warm-up', integer(0), trainDefaults.warmup)
    .option('--clip <norm>', 'largest global gradient norm', real(0), trainDefaults.clip)
    .option(
      '--weight-decay <rate>',
      'AdamW weight decay of matrices; vectors and alpha have none',
      real(0),
      trainDefaults.weightDecay,
    )
    .option('--beta2 <rate>', 'AdamW beta2', real(0), trainDefaults.beta2)
    .option(
      '--alpha <size>',
      'initial step size (reference: mcmc_step_size)',
      real(0),
      trainDefaults.alpha,
    )
    .option(
      '--alpha-multiplier <x>',
      'learning rate of alpha relative to the rest',
      real(0),
      trainDefaults.alphaMultiplier,
    )
    .option(
      '--muon-step <x>',
      "root mean square of Muon's steps, relative to the learning rate",
      real(0),
      trainDefaults.muonStep,
    )
    .option(
      '--seed <n>',
      'seed of weights, batches and random draws',
      integer(0),
      trainDefaults.seed,
    )
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
    .option('--valid-rows <n>', 'number of validation rows', integer(1), trainDefaults.validRows)
    .option(
      '--validate-every <updates>',
      'updates between validations',
      integer(1),
      trainDefaults.validateEvery,
    )
    .option(
      '--save-every <updates>',
      'updates between checkpoints',
      integer(1),
      trainDefaults.saveEvery,
    )
    .addOption(
      new Option('--max-seconds <s>', 'save and stop after so many seconds of training')
        .argParser(real(0))
        .default(trainDefaults.maxSeconds, 'no limit'),
    )
    .addOption(backendOption())
    .addOption(backendThreadsOption())
    .option(
      '--profile',
      'print the time of each kernel at the end; of a GPU, that of its recording',
    )
    .option('--strict', 'fail at the first bad line of data')
    .option('--cache <dir>', 'keep the tokenised text in this directory for later runs')
    .option(
      '--collapse-at <share>',
      'end the run if the spread of energies falls below this share of its first value; 0: never',
      real(0, 1),
      trainDefaults.collapseAt,
    )
    .option('--metrics-port <n>', 'serve Prometheus metrics on this port', integer(0, 65535))
    .option('--metrics-host <name>', 'address that the metrics port listens on', '127.0.0.1')
    .action((flags: Flags) => train(flags))
  addObjectiveFlags(command)
}

async function train(flags: Flags): Promise<void> {
  const json = JSON.parse(readFileSync(flags.config, 'utf8')) as Record<string, unknown>
  let interrupted = false
  process.once('SIGINT', () => (interrupted = true))
  process.once('SIGTERM', () => (interrupted = true))
  const opened = await openTraining(
    flags,
    { json, path: flags.config },
    {
      onUpdate: (report) => {
        view.update(report)
        metrics.update(report)
      },
      onValidation: (report) => {
        view.validation(report)
        metrics.validation(report)
      },
      stop: () => interrupted,
    },
  )
  const { backend, config, data, run, training } = opened
  const { name, reason } = backend
  const view = new TrainingView(flags.out, data.bytesPerPosition)
  const { objective } = flags
  const metrics = new TrainingMetrics({ model: config.name, objective, backend: name })
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
    await run()
  } finally {
    view.close()
    if (profile) console.error(profile.table())
    server?.close()
  }
}

function reportBadLines({ bad, badCount }: TrainingData): void {
  for (const { path, line, reason } of bad.slice(0, MAX_SHOWN_BAD_LINES))
    console.error(`left out ${path} line ${line}: ${reason}`)
  if (badCount > 0) console.error(`left out ${badCount} lines in all`)
}

/**
 * Simulates replicas of Basin under the load of many clients:
 *
 *   npm run simulate -- [run|study|check|record] [flags]
 *
 * `--help` lists the flags of each.
 */
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { integer, integerList, real } from '../../src/cli/options/number-parsers.js'
import { readConfig } from '../../src/model/config.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { traces, type Trace } from './arrivals.js'
import { readScalingRule } from './autoscaler.js'
import { type Dispatch, dispatches } from './fleet.js'
import { kindOf, mixedKinds } from './jobs.js'
import { readRecording } from './recording.js'
import { linesOf } from './report.js'
import { type Part, parts, study } from './study.js'
import { fullRate, meanSteps, type Mode, modes, profilesOfKinds, simulate } from './simulation.js'

/** Of the repository, from the directory of the compiled files. */
const root = fileURLToPath(new URL('../../../', import.meta.url))
const recordings = join(root, 'bench/simulation/sudoku9.json')
const models = join(root, 'models')
const scalingManifest = join(root, 'docker/kubernetes/autoscaler.yaml')

interface ServedFlags {
  recording: string
  models: string
}

const withServed = (command: Command): Command =>
  command
    .option('--recording <file>', 'searches that npm run simulate -- record wrote', recordings)
    .option('--models <directory>', 'directory of the models', models)

function open({ models: directory, recording: path }: ServedFlags) {
  const recording = readRecording(path)
  const model = join(directory, recording.model)
  return { recording, model: readConfig(model), tokenizer: openTokenizer(model) }
}

interface RunFlags extends ServedFlags {
  mode: Mode
  replicas: number
  load: number
  rate?: number
  seconds: number
  trace: Trace
  period: number
  clients: number
  seed: number
  dispatch: Dispatch
  slots: number
  maxQueue: number
  backgroundPlaces: number
  failureHours?: number
  noticeSeconds: number
  startSeconds: number
  drainSeconds: number
  checkpointSeconds: number
  scale?: string | true
  mostReplicas?: number
}

const number = (flags: string, about: string, parse: (text: string) => number, value?: number) => {
  const option = new Option(flags, about).argParser(parse)
  return value === undefined ? option : option.default(value)
}
const choice = (flags: string, about: string, choices: readonly string[], value: string) =>
  new Option(flags, about).choices(choices).default(value)

const loadsOption = (value: readonly number[]) =>
  new Option('--loads <share,...>', 'work that comes, in shares of what the replicas can do')
    .argParser((text: string) => text.split(',').map((each) => real(0.01, 10)(each)))
    .default(value)

async function run(flags: RunFlags): Promise<void> {
  const { clients, failureHours, load, period, replicas, seed, slots, trace } = flags
  const served = open(flags)
  const kinds = mixedKinds.map((spec) => kindOf(served.model, spec))
  const profiles = await profilesOfKinds(served, mixedKinds)
  const steps = meanSteps(served.recording, kinds, profiles, slots)
  const rate = flags.rate ?? (load * fullRate(served.recording, slots)) / steps
  const manifest = flags.scale === true ? scalingManifest : flags.scale
  const rule = manifest === undefined ? undefined : readScalingRule(manifest)
  const { mostReplicas: most = rule?.most } = flags
  const began = performance.now()
  const report = await simulate(
    served,
    {
      ...flags,
      kinds: mixedKinds,
      arrivals: { trace, rate: rate * replicas, period, seed },
      clients,
      failureSeconds: failureHours === undefined ? Infinity : failureHours * 3600,
      ...(rule && most !== undefined && { scaling: { ...rule, most } }),
    },
    profiles,
  )
  const took = (performance.now() - began) / 1000
  console.log(
    `${replicas} replicas of ${served.recording.model}, ${rate.toFixed(3)} requests a second for each, ${trace}; ` +
      `${steps.toFixed(0)} steps a request; simulated in ${took.toFixed(1)} s`,
  )
  console.log(linesOf(report, slots).join('\n'))
}

const program = new Command('npm run simulate --')
  .description('simulates replicas of Basin under the load of many clients, in virtual time')
  .showHelpAfterError()

withServed(program.command('run', { isDefault: true }).description('one simulation'))
  .addOption(
    choice(
      '--mode <name>',
      'take every step, jump over those that change nothing, or let answers flow',
      modes,
      'jumps',
    ),
  )
  .addOption(number('--replicas <n>', 'replicas', integer(1, 100_000), 1))
  .addOption(
    number(
      '--load <share>',
      'work that comes, in shares of what the replicas can do',
      real(0, 100),
      0.7,
    ),
  )
  .addOption(
    number('--rate <n>', 'requests a second for each replica, in place of --load', real(0, 1e6)),
  )
  .addOption(number('--seconds <n>', 'virtual seconds in which requests come', real(0), 600))
  .addOption(choice('--trace <name>', 'how requests come', traces, 'poisson'))
  .addOption(number('--period <seconds>', 'length of a day of diurnal', real(1), 86_400))
  .addOption(number('--clients <n>', 'clients that ask', integer(1, 1_000_000), 1000))
  .addOption(number('--seed <n>', 'the same seed gives the same figures', integer(0), 1))
  .addOption(choice('--dispatch <name>', 'how a replica is chosen', dispatches, 'two-choices'))
  .addOption(number('--slots <n>', 'as basin serve', integer(8, 4096), 64))
  .addOption(number('--max-queue <n>', 'as basin serve', integer(0), 256))
  .addOption(
    number('--background-places <n>', 'background requests of a replica at a time', integer(1), 8),
  )
  .addOption(number('--failure-hours <n>', 'mean hours until a replica is killed', real(0.001)))
  .addOption(number('--notice-seconds <n>', 'until a killed replica has been noticed', real(0), 30))
  .addOption(number('--start-seconds <n>', 'until a new replica takes requests', real(0), 20))
  .addOption(number('--drain-seconds <n>', 'as basin serve', real(0), 30))
  .addOption(number('--checkpoint-seconds <n>', 'as basin serve', real(0), 5))
  .option(
    '--scale [manifest]',
    'scale by the rule of a Kubernetes manifest, by default the one of docker/',
  )
  .addOption(
    number('--most-replicas <n>', 'in place of the most replicas of the rule', integer(1, 100_000)),
  )
  .action(run)

interface CheckFlags extends ServedFlags {
  replicas: number[]
  seconds: number
  loads: number[]
  slots: number
  clients: number
  seed: number
}

withServed(
  program.command('check').description('real servers and a simulation of the same requests'),
)
  .addOption(
    new Option('--replicas <n,...>', 'numbers of servers')
      .argParser(integerList)
      .default([1, 2, 4]),
  )
  .addOption(number('--seconds <n>', 'in which requests come, of each run', real(1), 20))
  .addOption(loadsOption([0.3, 0.6, 0.9]))
  .addOption(number('--slots <n>', 'as basin serve', integer(8, 64), 16))
  .addOption(number('--clients <n>', 'clients that ask', integer(1, 200), 4))
  .addOption(number('--seed <n>', 'the same seed gives the same requests', integer(0), 1))
  .action(async (flags: CheckFlags) => {
    const { check } = await import('./check.js')
    await check(open(flags), flags)
  })

interface StudyFlags extends ServedFlags {
  part: Part[]
  replicas: number[]
  loads: number[]
  seed: number
}

withServed(program.command('study').description('the tables of docs/simulation.md'))
  .addOption(new Option('--part <name...>', 'which tables').choices(parts).default(parts))
  .addOption(
    new Option('--replicas <n,...>', 'of the table load')
      .argParser(integerList)
      .default([1, 10, 100, 1000, 10_000]),
  )
  .addOption(loadsOption([0.5, 0.7, 0.85, 0.95, 1.1]))
  .addOption(number('--seed <n>', 'the same seed gives the same figures', integer(0), 1))
  .action(async ({ part, ...flags }: StudyFlags) => {
    await study(open(flags), { ...flags, parts: part, rule: readScalingRule(scalingManifest) })
  })

interface RecordFlags {
  models: string
  easy: number
  hard: number
  hardest?: string
  hardestCount: number
  most: number
  out: string
  timing?: true
}

program
  .command('record')
  .description('records searches of the real engine, and the time of its calls, for the others')
  .option('--models <directory>', 'directory of the models', models)
  .addOption(number('--easy <n>', 'boards of 30 to 45 givens', integer(1), 40))
  .addOption(number('--hard <n>', 'boards of 22 to 25 givens', integer(1), 32))
  .option(
    '--hardest <file>',
    'a collection of puzzles of 9x9, one a line, of which the first are taken',
  )
  .addOption(number('--hardest-count <n>', 'how many of them', integer(1), 40))
  .addOption(number('--most <n>', 'steps of a search at most', integer(64), 4096))
  .option('--out <file>', 'where to write them', recordings)
  .option('--timing', 'measure only the time of calls again, for the searches of --out')
  .action(async ({ models: served, timing, ...flags }: RecordFlags) => {
    const { record, recordTiming } = await import('./record.js')
    const directory = join(served, 'sudoku9')
    if (timing) await recordTiming(directory, flags.out)
    else await record({ ...flags, directory })
  })

await program.parseAsync()

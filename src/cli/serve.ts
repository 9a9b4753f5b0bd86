/** `basin serve`: the models of a directory, over HTTP and WebSocket. */
import { Option, type Command } from 'commander'
import { BasinError } from '../errors.js'
import type { Generation } from '../generation/client.js'
import { LmdbStore } from '../jobs/lmdb-store.js'
import { MemoryStore } from '../jobs/memory-store.js'
import type { JobStore } from '../jobs/store.js'
import type { ModelConfig } from '../model/config.js'
import { type AppOptions, buildApart, buildApp } from '../server/app.js'
import { Keys } from '../server/keys.js'
import { defaultLimits, type Limits } from '../server/limits.js'
import { listen } from '../server/listen.js'
import type { Rates } from '../server/quotas.js'
import type { Offer } from '../server/served.js'
import { logLevels, openLog } from './log.js'
import { integer } from './numbers.js'
import { shippedModels, version } from './package.js'
import {
  engineOption,
  findModels,
  offerOf,
  prefixSharingOption,
  refinerOption,
  threadsOption,
  weightsOption,
  type WorkerFlags,
} from './worker.js'

interface ServeFlags extends WorkerFlags {
  host: string
  port: number
  models: string
  model?: string[]
  maxStepsCap: number
  maxSecondsCap: number
  drainSeconds: number
  maxRequestSteps: number
  requestsPerMinute?: number
  tokensPerMinute?: number
  stepsPerMinute?: number
  concurrent?: number
  keys?: string
  allowedHost?: string[]
  corsOrigin?: string[]
  adminPort?: number
  adminHost: string
  memoryMib?: number
  dataDir?: string
  responseTtl: number
  responseMib: number
  logLevel: string
}

const append = (name: string, names: string[] = []): string[] => [...names, name]

const number = (
  flags: string,
  description: string,
  environment: string,
  [minimum, maximum]: readonly [number, number],
  value?: number,
): Option =>
  new Option(flags, description)
    .env(environment)
    .argParser(integer(minimum, maximum))
    .default(value)

const perClient = (what: 'requests' | 'tokens' | 'steps', unit: string): Option =>
  number(
    `--${what}-per-minute <n>`,
    `${what} of one client ${unit}`,
    `BASIN_${what.toUpperCase()}_PER_MINUTE`,
    [1, Number.MAX_SAFE_INTEGER],
  )

export function registerServe(program: Command): void {
  program
    .command('serve')
    .description('answer over HTTP and WebSocket')
    .addOption(
      new Option('--host <address>', 'where to listen').env('BASIN_HOST').default('127.0.0.1'),
    )
    .addOption(number('--port <n>', '0: any free one', 'BASIN_PORT', [0, 65_535], 8000))
    .addOption(
      new Option('--models <directory>', 'where the models are')
        .env('BASIN_MODELS')
        .default(shippedModels, 'those shipped'),
    )
    .addOption(
      new Option(
        '--model <name>',
        'serve this one only (repeatable); the first is the default of requests',
      )
        .env('BASIN_MODEL')
        .argParser(append),
    )
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(refinerOption())
    .addOption(number('--slots <n>', 'answers at once', 'BASIN_SLOTS', [1, 65_536], 64))
    .addOption(
      number('--pages <n>', 'pages of the context cache (16 positions)', 'BASIN_PAGES', [1, 1e7]),
    )
    .addOption(prefixSharingOption())
    .addOption(
      number('--max-queue <n>', 'requests that may wait', 'BASIN_MAX_QUEUE', [0, 1e6], 256),
    )
    .addOption(
      number(
        '--max-steps-cap <n>',
        'most steps per answer that a request may name',
        'BASIN_MAX_STEPS_CAP',
        [1, 2 ** 31 - 1],
        defaultLimits.caps.maxSteps,
      ),
    )
    .addOption(
      number(
        '--max-seconds-cap <n>',
        'most seconds per answer, unbounded ones included',
        'BASIN_MAX_SECONDS_CAP',
        [1, 1e9],
        defaultLimits.caps.maxSeconds,
      ),
    )
    .addOption(
      number(
        '--drain-seconds <n>',
        'time for running answers after SIGTERM',
        'BASIN_DRAIN_SECONDS',
        [0, 86_400],
        30,
      ),
    )
    .addOption(
      number(
        '--prefill-chunk <n>',
        'prompt tokens observed per tick',
        'BASIN_PREFILL_CHUNK',
        [1, 1e6],
        256,
      ),
    )
    .addOption(
      number(
        '--hold-seconds <n>',
        'how long a finished answer may be extended',
        'BASIN_HOLD_SECONDS',
        [0, 86_400],
        60,
      ),
    )
    .addOption(
      number(
        '--pause-seconds <n>',
        'how long an answer may be paused; then it ends with the best so far',
        'BASIN_PAUSE_SECONDS',
        [0, 86_400],
        300,
      ),
    )
    .addOption(
      number(
        '--watchdog-seconds <n>',
        'how long an engine may not turn before it is started anew; 0: for ever',
        'BASIN_WATCHDOG_SECONDS',
        [0, 86_400],
        defaultLimits.stallSeconds,
      ),
    )
    .addOption(
      number(
        '--max-request-steps <n>',
        'most steps of one request: choices x candidates x answers x steps',
        'BASIN_MAX_REQUEST_STEPS',
        [1, Number.MAX_SAFE_INTEGER],
        defaultLimits.steps,
      ),
    )
    .addOption(perClient('requests', 'per minute'))
    .addOption(perClient('tokens', 'per minute, read and written'))
    .addOption(perClient('steps', 'of descent per minute'))
    .addOption(
      number('--concurrent <n>', 'choices of one client at once', 'BASIN_CONCURRENT', [1, 1e9]),
    )
    .addOption(
      new Option('--keys <file>', 'ask for an API key of this file: see basin keys add').env(
        'BASIN_KEYS',
      ),
    )
    .addOption(
      new Option(
        '--data-dir <directory>',
        'where responses are kept; without it they are kept in memory, and lost with the process',
      ).env('BASIN_DATA_DIR'),
    )
    .addOption(
      number(
        '--response-ttl <seconds>',
        'how long a response is kept after its end',
        'BASIN_RESPONSE_TTL',
        [1, 1e9],
        defaultLimits.responseSeconds,
      ),
    )
    .addOption(
      number(
        '--response-mib <n>',
        'room for responses that are kept; beyond it the oldest ended ones go',
        'BASIN_RESPONSE_MIB',
        [1, 2 ** 20],
        128,
      ),
    )
    .addOption(
      new Option(
        '--allowed-host <name>',
        'a name that requests may call the server by (repeatable); *: any',
      )
        .env('BASIN_ALLOWED_HOST')
        .argParser(append),
    )
    .addOption(
      new Option(
        '--cors-origin <origin>',
        'whose pages may ask, such as https://chat.example (repeatable); *: all',
      )
        .env('BASIN_CORS_ORIGIN')
        .argParser(append),
    )
    .addOption(
      number(
        '--admin-port <n>',
        'a port for metrics and administration alone, which the other then does not have',
        'BASIN_ADMIN_PORT',
        [0, 65_535],
      ),
    )
    .addOption(
      new Option('--admin-host <address>', 'where that port listens')
        .env('BASIN_ADMIN_HOST')
        .default('127.0.0.1'),
    )
    .addOption(
      number(
        '--memory-mib <n>',
        'most that the engines may take together; who is not used gives way',
        'BASIN_MEMORY_MIB',
        [1, 2 ** 30],
      ),
    )
    .addOption(
      new Option('--log-level <level>', 'least level of the log')
        .choices(logLevels)
        .env('BASIN_LOG_LEVEL')
        .default('info'),
    )
    .action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const logger = openLog(flags.logLevel)
  const keys = flags.keys === undefined ? undefined : Keys.open(flags.keys)
  const offers = offersOf(flags)
  const [defaultModel = ''] = offers.keys()
  const memoryBytes = flags.memoryMib === undefined ? Infinity : flags.memoryMib * 2 ** 20
  const models = await openModels(offers, memoryBytes)
  try {
    let draining = false
    const options: AppOptions = {
      ...{ models, offers, memoryBytes, defaultModel, logger, version },
      limits: limitsOf(flags),
      store: openStore(flags),
      ...(keys && { keys }),
      doors: {
        ...(flags.allowedHost && { hosts: flags.allowedHost }),
        ...(flags.corsOrigin && { origins: flags.corsOrigin }),
      },
      draining: () => draining,
    }
    const { app, operations } =
      flags.adminPort === undefined
        ? { app: await buildApp(options), operations: undefined }
        : await buildApart(options)
    const onDrain = () => (draining = true)
    const address = await listen(app, { ...flags, models, logger, onDrain, also: operations })
    console.log(greeting(models, address))
    if (operations && flags.adminPort !== undefined) {
      const at = await operations.listen({ host: flags.adminHost, port: flags.adminPort })
      console.log(`metrics and administration are at ${at}`)
    }
  } catch (error) {
    await closeAll(models.values())
    throw error
  }
}

const limitsOf = (flags: ServeFlags): Limits => ({
  ...defaultLimits,
  caps: {
    maxSteps: flags.maxStepsCap,
    maxSeconds: flags.maxSecondsCap,
    candidates: Math.min(flags.slots, defaultLimits.caps.candidates),
  },
  steps: flags.maxRequestSteps,
  responseSeconds: flags.responseTtl,
  rates: ratesOf(flags),
  stallSeconds: flags.watchdogSeconds || defaultLimits.stallSeconds,
})

const openStore = ({ dataDir, responseMib }: ServeFlags): JobStore => {
  const limit = responseMib * 2 ** 20
  return dataDir === undefined ? new MemoryStore(limit) : LmdbStore.open(dataDir, limit)
}

const ratesOf = (flags: ServeFlags): Rates => ({
  ...(flags.requestsPerMinute !== undefined && { requests: flags.requestsPerMinute }),
  ...(flags.tokensPerMinute !== undefined && { tokens: flags.tokensPerMinute }),
  ...(flags.stepsPerMinute !== undefined && { steps: flags.stepsPerMinute }),
  ...(flags.concurrent !== undefined && { concurrent: flags.concurrent }),
})

async function closeAll(generations: Iterable<Generation>): Promise<void> {
  await Promise.all([...generations].map((generation) => generation.close()))
}

/** By the names that requests use, in the order asked for. */
function offersOf(flags: ServeFlags): Map<string, Offer> {
  const directories = chosen(findModels(flags.models), flags)
  const offers = new Map(directories.map((path) => offerOf(path, flags)))
  if (offers.size === directories.length) return offers
  const reason = 'two models have the same name in their config.json'
  throw new BasinError('invalid_data', { path: flags.models, reason })
}

/** As many as there is room for, at least the first. All of those, or an error. */
async function openModels(
  offers: ReadonlyMap<string, Offer>,
  memoryBytes: number,
): Promise<Map<string, Generation>> {
  let taken = 0
  const first = [...offers].filter(([, { bytes }], i) => (taken += bytes) <= memoryBytes || i === 0)
  const opened = await Promise.allSettled(first.map(([, offer]) => offer.open()))
  const generations = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = opened.find((each) => each.status === 'rejected')
  if (!failed) return new Map(generations.map((generation) => [generation.model.name, generation]))
  await closeAll(generations)
  throw failed.reason
}

/** Models are chosen by the names of their directories. */
function chosen(directories: readonly string[], { model, models }: ServeFlags): readonly string[] {
  return (
    model?.map((name) => {
      const directory = directories.find((path) => path.endsWith(`/${name}`))
      if (directory) return directory
      throw new BasinError('invalid_data', { path: models, reason: `there is no model ${name}` })
    }) ?? directories
  )
}

function greeting(models: ReadonlyMap<string, Generation>, address: string): string {
  const served = [...models.values()].flatMap(({ engine, model }) => [
    `  ${model.name}: ${model.description} (${engine.name} on ${engine.backend})`,
    `    curl ${address}/v1/completions -H 'content-type: application/json' -d '${JSON.stringify(example(model))}'`,
  ])
  return [
    `basin ${version} is at ${address}, its documentation at ${address}/docs`,
    ...served,
  ].join('\n')
}

/** A request that works. */
function example({ name, template }: ModelConfig): object {
  const { blank, length, example: text } = template ?? {}
  if (text !== undefined) return { model: name, template: text }
  if (blank !== undefined && length !== undefined)
    return { model: name, template: blank.repeat(length) }
  return { model: name, prompt: 'Once upon a time', max_tokens: 64 }
}

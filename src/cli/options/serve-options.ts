/** The settings of `basin serve`. Each is a flag, an environment variable and an entry of a file. */
import { type Command, Option } from 'commander'
import { CHECKPOINT_SECONDS, defaultLimits } from '../../server/limits.js'
import { LARGEST_TERM_COUNT } from '../../server/schemas/terms-schema.js'
import { modelFileSwitches } from '../model-files.js'
import type { WorkerFlags } from '../../library/open-models.js'
import { SecretOption } from '../commands/config-command.js'
import { logLevels } from '../output/log.js'
import { integer, real } from './number-parsers.js'
import { shippedModels } from '../../library/package.js'
import {
  cacheTypeOption,
  engineOption,
  prefixSharingOption,
  refinerOption,
  threadsOption,
  weightsOption,
} from './engine-options.js'

export interface ServeFlags extends WorkerFlags {
  host: string
  port: number
  models: string
  model?: string[]
  modelFiles: (typeof modelFileSwitches)[number]
  maxStepsCap: number
  maxSecondsCap: number
  drainSeconds: number
  maxRequestSteps: number
  maxTerms: number
  maxTermPositions: number
  maxModelTerms: number
  requestsPerMinute?: number
  tokensPerMinute?: number
  stepsPerMinute?: number
  concurrent?: number
  socketsPerClient: number
  redisUrl?: string
  fleet: 'on' | 'off'
  fleetJobs: number
  fleetLeaseSeconds: number
  keys?: string
  docs: 'all' | 'keys'
  allowedHost?: string[]
  corsOrigin?: string[]
  adminPort?: number
  adminHost: string
  memoryMib?: number
  dataDir?: string
  checkpointSeconds: number
  stateKey?: string
  responseTtl: number
  responseMib: number
  otlpEndpoint?: string
  logLevel: string
}

/** Collects the values of a flag that may be repeated. */
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

const perMinute = (what: 'requests' | 'tokens' | 'steps', description: string): Option =>
  number(`--${what}-per-minute <n>`, description, `BASIN_${what.toUpperCase()}_PER_MINUTE`, [
    1,
    Number.MAX_SAFE_INTEGER,
  ])

/** Adds the settings in the order in which help and documentation list them. */
export const serveOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--host <address>', 'address to listen on').env('BASIN_HOST').default('127.0.0.1'),
    )
    .addOption(
      number(
        '--port <n>',
        'port to listen on; 0 takes any free one',
        'BASIN_PORT',
        [0, 65_535],
        8000,
      ),
    )
    .addOption(
      new Option(
        '--models <directory>',
        'directory of the model directories, or one model directory',
      )
        .env('BASIN_MODELS')
        .default(shippedModels, 'the shipped models'),
    )
    .addOption(
      new Option(
        '--model <name>',
        'serve this model only (repeatable); the first answers requests that name none',
      )
        .env('BASIN_MODEL')
        .argParser(append),
    )
    .addOption(
      new Option(
        '--model-files <switch>',
        'whether clients may fetch the files of the models, so that the page can compute in a browser',
      )
        .choices(modelFileSwitches)
        .env('BASIN_MODEL_FILES')
        .default('off'),
    )
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(cacheTypeOption())
    .addOption(refinerOption())
    .addOption(
      number(
        '--slots <n>',
        'answers that a model computes at once',
        'BASIN_SLOTS',
        [1, 65_536],
        64,
      ),
    )
    .addOption(
      number(
        '--pages <n>',
        'pages of the context cache of a model, of 16 positions each',
        'BASIN_PAGES',
        [1, 1e7],
      ),
    )
    .addOption(prefixSharingOption())
    .addOption(
      number(
        '--max-queue <n>',
        'requests that may wait for a model; further ones get 429',
        'BASIN_MAX_QUEUE',
        [0, 1e6],
        256,
      ),
    )
    .addOption(
      number(
        '--max-steps-cap <n>',
        'largest number of steps of an answer that a request may ask for',
        'BASIN_MAX_STEPS_CAP',
        [1, 2 ** 31 - 1],
        defaultLimits.caps.maxSteps,
      ),
    )
    .addOption(
      number(
        '--max-seconds-cap <n>',
        'largest number of seconds of an answer, also of one without a step limit',
        'BASIN_MAX_SECONDS_CAP',
        [1, 1e9],
        defaultLimits.caps.maxSeconds,
      ),
    )
    .addOption(
      number(
        '--drain-seconds <n>',
        'seconds that running answers may take after SIGTERM',
        'BASIN_DRAIN_SECONDS',
        [0, 86_400],
        30,
      ),
    )
    .addOption(
      number(
        '--prefill-chunk <n>',
        'prompt tokens that are observed between two descent steps',
        'BASIN_PREFILL_CHUNK',
        [1, 1e6],
        256,
      ),
    )
    .addOption(
      number(
        '--hold-seconds <n>',
        'seconds that a finished answer may still be extended',
        'BASIN_HOLD_SECONDS',
        [0, 86_400],
        60,
      ),
    )
    .addOption(
      number(
        '--pause-seconds <n>',
        'seconds that an answer may be paused; then it ends with the best so far',
        'BASIN_PAUSE_SECONDS',
        [0, 86_400],
        300,
      ),
    )
    .addOption(
      number(
        '--watchdog-seconds <n>',
        'seconds after which an engine that does not answer is restarted; 0: never',
        'BASIN_WATCHDOG_SECONDS',
        [0, 86_400],
        defaultLimits.stallSeconds,
      ),
    )
    .addOption(
      number(
        '--max-request-steps <n>',
        'largest number of steps of a request: choices x candidates x answers x steps',
        'BASIN_MAX_REQUEST_STEPS',
        [1, Number.MAX_SAFE_INTEGER],
        defaultLimits.steps,
      ),
    )
    .addOption(
      number(
        '--max-terms <n>',
        'terms that a request may add to the energy; 0: none',
        'BASIN_MAX_TERMS',
        [0, LARGEST_TERM_COUNT],
        defaultLimits.terms.terms,
      ),
    )
    .addOption(
      number(
        '--max-term-positions <n>',
        'positions of all terms of a request together',
        'BASIN_MAX_TERM_POSITIONS',
        [1, 1e6],
        defaultLimits.terms.positions,
      ),
    )
    .addOption(
      number(
        '--max-model-terms <n>',
        'terms of a request that are the energies of other models; 0: none',
        'BASIN_MAX_MODEL_TERMS',
        [0, 16],
        defaultLimits.terms.models,
      ),
    )
    .addOption(perMinute('requests', 'requests that one client may send per minute'))
    .addOption(perMinute('tokens', 'tokens of one client per minute, of prompts and completions'))
    .addOption(perMinute('steps', 'descent steps of one client per minute'))
    .addOption(
      number(
        '--concurrent <n>',
        'candidates of one client that are computed at once; each choice has one at least',
        'BASIN_CONCURRENT',
        [1, 1e9],
      ),
    )
    .addOption(
      number(
        '--sockets-per-client <n>',
        'sockets that one client may have open at once',
        'BASIN_SOCKETS_PER_CLIENT',
        [1, 1e6],
        defaultLimits.clientSockets,
      ),
    )
    .addOption(
      new SecretOption(
        '--redis-url <url>',
        'count the use of each client in this Redis, which several servers can share',
      ).env('BASIN_REDIS_URL'),
    )
    .addOption(
      new Option(
        '--fleet <switch>',
        'whether all servers on the Redis of --redis-url share their responses: each computes what is in the background, and answers for all',
      )
        .choices(['on', 'off'])
        .env('BASIN_FLEET')
        .default('off'),
    )
    .addOption(
      number(
        '--fleet-jobs <n>',
        'background responses of each model that this server of a fleet computes at once',
        'BASIN_FLEET_JOBS',
        [1, 65_536],
        16,
      ),
    )
    .addOption(
      number(
        '--fleet-lease-seconds <n>',
        'seconds after which others take the background responses of a server that does not answer',
        'BASIN_FLEET_LEASE_SECONDS',
        [1, 3600],
        10,
      ),
    )
    .addOption(
      new Option(
        '--keys <file>',
        'require an API key of this file, which basin keys add makes',
      ).env('BASIN_KEYS'),
    )
    .addOption(
      new Option('--docs <who>', 'who may read /docs and /openapi.json where there are keys')
        .choices(['all', 'keys'])
        .env('BASIN_DOCS')
        .default('all'),
    )
    .addOption(
      new Option(
        '--data-dir <directory>',
        'directory of stored responses; without it they are in memory and end with the process',
      ).env('BASIN_DATA_DIR'),
    )
    .addOption(
      new Option(
        '--checkpoint-seconds <n>',
        'seconds between two checkpoints of an answer in the background; 0: none',
      )
        .env('BASIN_CHECKPOINT_SECONDS')
        .argParser(real(0, 86_400))
        .default(CHECKPOINT_SECONDS),
    )
    .addOption(
      new Option(
        '--state-key <file>',
        'file of a secret by which states of responses are signed, 32 bytes at least; default: one in --data-dir',
      ).env('BASIN_STATE_KEY'),
    )
    .addOption(
      number(
        '--response-ttl <seconds>',
        'seconds that a response is kept after its end',
        'BASIN_RESPONSE_TTL',
        [1, 1e9],
        defaultLimits.responseSeconds,
      ),
    )
    .addOption(
      number(
        '--response-mib <n>',
        'MiB for stored responses; when it is full, the oldest ended ones are deleted',
        'BASIN_RESPONSE_MIB',
        [1, 2 ** 20],
        128,
      ),
    )
    .addOption(
      new Option(
        '--allowed-host <name>',
        'a host name that requests may use for the server (repeatable); *: any',
      )
        .env('BASIN_ALLOWED_HOST')
        .argParser(append),
    )
    .addOption(
      new Option(
        '--cors-origin <origin>',
        'origin whose pages may send requests, such as https://chat.example (repeatable); *: all',
      )
        .env('BASIN_CORS_ORIGIN')
        .argParser(append),
    )
    .addOption(
      number(
        '--admin-port <n>',
        'port for metrics and administration, which the main port then does not serve',
        'BASIN_ADMIN_PORT',
        [0, 65_535],
      ),
    )
    .addOption(
      new Option('--admin-host <address>', 'address that the admin port listens on')
        .env('BASIN_ADMIN_HOST')
        .default('127.0.0.1'),
    )
    .addOption(
      number(
        '--memory-mib <n>',
        'MiB that all engines may take together; models that are not in use are unloaded for others',
        'BASIN_MEMORY_MIB',
        [1, 2 ** 30],
      ),
    )
    .addOption(
      new Option(
        '--otlp-endpoint <url>',
        'URL of a collector that receives traces, as OTLP over HTTP, at /v1/traces',
      ).env('OTEL_EXPORTER_OTLP_ENDPOINT'),
    )
    .addOption(
      new Option('--log-level <level>', 'lowest level of log lines that are written')
        .choices(logLevels)
        .env('BASIN_LOG_LEVEL')
        .default('info'),
    )

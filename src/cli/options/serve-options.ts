/** The settings of `basin serve`: each a flag, a variable and an entry of the settings file. */
import { type Command, Option } from 'commander'
import { defaultLimits } from '../../server/limits.js'
import { SecretOption } from '../commands/config-command.js'
import { logLevels } from '../output/log.js'
import { integer } from './number-parsers.js'
import { shippedModels } from '../package.js'
import {
  engineOption,
  prefixSharingOption,
  refinerOption,
  threadsOption,
  weightsOption,
  type WorkerFlags,
} from '../open-models.js'

export interface ServeFlags extends WorkerFlags {
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
  redisUrl?: string
  keys?: string
  allowedHost?: string[]
  corsOrigin?: string[]
  adminPort?: number
  adminHost: string
  memoryMib?: number
  dataDir?: string
  responseTtl: number
  responseMib: number
  otlpEndpoint?: string
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

/** In the order in which help and documentation list them. */
export const serveOptions = (command: Command): Command =>
  command
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
      new SecretOption(
        '--redis-url <url>',
        'count what clients use in this Redis, which other servers share',
      ).env('BASIN_REDIS_URL'),
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
      new Option(
        '--otlp-endpoint <url>',
        'send traces there, as OTLP over HTTP: to /v1/traces below it',
      ).env('OTEL_EXPORTER_OTLP_ENDPOINT'),
    )
    .addOption(
      new Option('--log-level <level>', 'least level of the log')
        .choices(logLevels)
        .env('BASIN_LOG_LEVEL')
        .default('info'),
    )

/** `basin serve`: serves the models of a directory over HTTP and WebSocket. */
import { watchFile } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import type { Logger } from 'pino'
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import { LmdbStore } from '../../jobs/lmdb-store.js'
import { MemoryStore } from '../../jobs/memory-store.js'
import { recoverFolder } from '../../jobs/recover.js'
import type { Fleet } from '../../jobs/fleet/fleet.js'
import type { JobStore } from '../../jobs/store.js'
import { type AppOptions, buildApart, buildApp } from '../../server/app.js'
import { exampleOf } from '../../server/api-examples.js'
import { ApiKeys } from '../../server/api-keys.js'
import { defaultLimits, type Limits } from '../../server/limits.js'
import { listen } from '../../server/listen.js'
import type { QueueBoard } from '../../server/plugins/queue-board.js'
import type { Rates } from '../../server/requests/quotas.js'
import { RedisUsageStore } from '../../server/requests/redis-usage-store.js'
import type { ModelFiles } from '../../server/routes/model-file-routes.js'
import type { ModelSource } from '../../server/models/model-registry.js'
import { notInstalled } from '../../optional-package.js'
import { openLog } from '../output/log.js'
import { version } from '../../library/package.js'
import { type ServeFlags, serveOptions } from '../options/serve-options.js'
import { openTracing } from '../output/telemetry.js'
import { openStateKey } from '../state-key.js'
import { browserFiles } from '../model-files.js'
import { checkNames, type FoundModel, modelNamed, scanModels } from '../../library/model-folder.js'
import { closeAll, openAll, sourceOf } from '../../library/open-models.js'

/** Between looks at the file of keys. */
const KEYS_INTERVAL_MS = 1000

const recoverProcess = fileURLToPath(new URL('../../jobs/recover-process.js', import.meta.url))

export function registerServe(program: Command): void {
  const command = program.command('serve').description('serve models over HTTP and WebSocket')
  serveOptions(command).action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const logger = openLog(flags.logLevel)
  const keys = flags.keys === undefined ? undefined : ApiKeys.open(flags.keys)
  if (keys && flags.keys !== undefined) followKeys(flags.keys, keys, logger)
  const chosen = chosenModels(flags, logger)
  const sources = sourcesOf(chosen, flags)
  if (sources.size === 0) throw noModels(flags.models)
  const [defaultModel = ''] = sources.keys()
  const memoryBytes = flags.memoryMib === undefined ? Infinity : flags.memoryMib * 2 ** 20
  const tracing = flags.otlpEndpoint && (await openTracing(flags.otlpEndpoint, logger))
  const fleet = flags.fleet === 'on' ? await openFleet(flags, logger) : undefined
  const queueBoard = fleet && keys ? await openBoard(fleet, logger) : undefined
  const usage = await openUsage(flags, logger)
  const stateKey = openStateKey(flags.stateKey, flags.dataDir) ?? (await fleet?.stateKey())
  let models = new Map<string, EngineClient>()
  try {
    models = await openModels(sources, memoryBytes)
    let draining = false
    const options: AppOptions = {
      models,
      sources,
      rescan: () => sourcesOf(chosenModels(flags, logger), flags),
      memoryBytes,
      defaultModel,
      logger,
      version,
      limits: limitsOf(flags),
      store: fleet?.store ?? (await openStore(flags, logger)),
      ...(fleet && { shared: fleet }),
      ...(queueBoard && { queueBoard }),
      checkpointSeconds: flags.checkpointSeconds,
      ...(stateKey && { stateKey }),
      ...(keys && { keys }),
      ...(flags.modelFiles === 'on' && { modelFiles: modelFilesOf(chosen) }),
      privateDocs: flags.docs === 'keys',
      ...(usage && { usage }),
      ...(tracing && { tracing }),
      origins: {
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
    const shared = fleet !== undefined
    const address = await listen(app, { ...flags, models, logger, onDrain, operations, shared })
    console.log(greeting(models, address))
    let administration = address
    if (operations && flags.adminPort !== undefined) {
      const { adminHost: host, adminPort: port } = flags
      administration = await operations.listen({ host, port })
      console.log(`metrics and administration are at ${administration}`)
    }
    if (queueBoard)
      console.log(
        `the queues are at ${administration}/admin/queues; the password is an administrator's key`,
      )
  } catch (error) {
    await closeAll([...models.values(), ...(usage ? [usage] : []), ...(fleet ? [fleet] : [])])
    throw error
  }
}

/** Keys that are added or revoked while the server runs hold from then on. */
function followKeys(path: string, keys: ApiKeys, logger: Logger): void {
  watchFile(path, { interval: KEYS_INTERVAL_MS, persistent: false }, () => {
    try {
      logger.info({ keys: keys.reload(path) }, 'the file of keys was read again')
    } catch (error) {
      logger.error({ err: error }, 'the file of keys cannot be read; the keys before it hold')
    }
  })
}

const limitsOf = (flags: ServeFlags): Limits => ({
  ...defaultLimits,
  caps: {
    maxSteps: flags.maxStepsCap,
    maxSeconds: flags.maxSecondsCap,
    candidates: Math.min(flags.slots, defaultLimits.caps.candidates),
  },
  terms: {
    terms: flags.maxTerms,
    positions: flags.maxTermPositions,
    models: flags.maxModelTerms,
  },
  steps: flags.maxRequestSteps,
  clientSockets: flags.socketsPerClient,
  responseSeconds: flags.responseTtl,
  rates: ratesOf(flags),
  stallSeconds: flags.watchdogSeconds || defaultLimits.stallSeconds,
})

async function openStore({ dataDir, responseMib }: ServeFlags, logger: Logger): Promise<JobStore> {
  const limit = responseMib * 2 ** 20
  if (dataDir === undefined) return new MemoryStore(limit)
  await recoverFolder(dataDir, recoverProcess, (line) => {
    logger.error({ dataDir }, line)
  })
  return LmdbStore.open(dataDir, limit, (id, reason) => {
    logger.error({ response: id }, `a stored response is damaged: ${reason}`)
  })
}

/** BullMQ is installed and loaded only where it is asked for. */
async function openFleet(flags: ServeFlags, logger: Logger): Promise<Fleet> {
  const { dataDir, fleetJobs: jobs, fleetLeaseSeconds: leaseSeconds, redisUrl: url } = flags
  const refuse = (reason: string) => new BasinError('invalid_data', { path: '--fleet', reason })
  if (url === undefined) throw refuse('needs --redis-url, the Redis that the servers share')
  if (dataDir !== undefined) throw refuse('keeps responses in Redis; leave out --data-dir')
  const { Fleet } = await import('../../jobs/fleet/fleet.js').catch((error: unknown) => {
    const missing = notInstalled('bullmq', error)
    throw missing === undefined ? error : refuse(missing)
  })
  return Fleet.open({ url, limit: flags.responseMib * 2 ** 20, jobs, leaseSeconds, log: logger })
}

/** The page of the queues, which is for administrators: a server without keys has none of either. */
async function openBoard(fleet: Fleet, logger: Logger): Promise<QueueBoard | undefined> {
  const { openQueueBoard } = await import('../../server/plugins/queue-board.js')
  const board = await openQueueBoard(() => fleet.allQueues())
  if (!('missing' in board)) return board
  logger.info(`fleet: ${board.missing}`)
  return undefined
}

/** Undefined in a fleet without limits: it has nothing to count, and its responses use a connection of their own. */
async function openUsage(flags: ServeFlags, logger: Logger): Promise<RedisUsageStore | undefined> {
  const { fleet, redisUrl } = flags
  const counts = fleet === 'off' || Object.keys(ratesOf(flags)).length > 0
  return counts && redisUrl ? RedisUsageStore.open(redisUrl, logger) : undefined
}

const ratesOf = (flags: ServeFlags): Rates => ({
  ...(flags.requestsPerMinute !== undefined && { requests: flags.requestsPerMinute }),
  ...(flags.tokensPerMinute !== undefined && { tokens: flags.tokensPerMinute }),
  ...(flags.stepsPerMinute !== undefined && { steps: flags.stepsPerMinute }),
  ...(flags.concurrent !== undefined && { concurrent: flags.concurrent }),
})

/**
 * Those that --model names, in its order, which must be there; else all of the folder. What of it cannot be
 * served is skipped with a line in the log.
 */
function chosenModels({ model, models }: ServeFlags, logger: Logger): readonly FoundModel[] {
  const folder = scanModels(models)
  const chosen = model?.map((name) => modelNamed(name, folder, models)) ?? folder.found
  checkNames(chosen, models)
  if (!model) {
    for (const { directory, reason } of folder.skipped) {
      logger.warn({ directory }, `a directory is skipped: ${reason}`)
    }
  }
  return chosen
}

/**
 * By the names that requests use. Without --model, those that complete any prompt come before those that fill a
 * grid of fixed length.
 */
function sourcesOf(chosen: readonly FoundModel[], flags: ServeFlags): Map<string, ModelSource> {
  const all = chosen.map((found): [string, ModelSource] => [
    found.model.name,
    sourceOf(found, flags),
  ])
  const fillsGrid = ([, { model }]: [string, ModelSource]) =>
    Number(model.template?.length !== undefined)
  if (!flags.model) all.sort((a, b) => fillsGrid(a) - fillsGrid(b))
  return new Map(all)
}

function noModels(root: string): BasinError {
  const reason =
    'there is no model (a directory with config.json and weights) in it; name another directory with --models'
  return new BasinError('invalid_data', { path: root, reason })
}

/** The files of the models that browsers can compute with, by the names that requests use. */
const modelFilesOf = (chosen: readonly FoundModel[]): ModelFiles =>
  new Map(
    chosen.flatMap(({ directory, model }) => {
      const files = browserFiles(directory)
      return files ? [[model.name, { directory, files }]] : []
    }),
  )

/** Opens the first models, as many as memory has room for and at least one. Throws if one fails. */
function openModels(
  sources: ReadonlyMap<string, ModelSource>,
  memoryBytes: number,
): Promise<Map<string, EngineClient>> {
  let taken = 0
  const first = [...sources].filter(
    ([, { bytes }], i) => (taken += bytes) <= memoryBytes || i === 0,
  )
  return openAll(first.map(([, source]) => source.open()))
}

function greeting(models: ReadonlyMap<string, EngineClient>, address: string): string {
  const served = [...models.values()].flatMap(({ engine, model }) => [
    `  ${model.name}: ${model.description} (${engine.name} on ${engine.backend})`,
    `    curl ${address}/v1/completions -H 'content-type: application/json' -d '${JSON.stringify(exampleOf('/v1/completions', model))}'`,
  ])
  // The slowest engine is never taken in silence.
  const slow = [...models.values()].find(({ engine }) => engine.name === 'tfjs')
  return [
    `basin ${version} is at ${address}, its documentation at ${address}/docs`,
    ...served,
    ...(slow ? [`  the engine is tfjs: ${slow.engine.reason}`] : []),
  ].join('\n')
}

/** `basin serve`: serves the models of a directory over HTTP and WebSocket. */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import type { Logger } from 'pino'
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import { LmdbStore } from '../../jobs/lmdb-store.js'
import { MemoryStore } from '../../jobs/memory-store.js'
import { recoverFolder } from '../../jobs/recover.js'
import type { JobStore } from '../../jobs/store.js'
import type { ModelConfig } from '../../model/config.js'
import { type AppOptions, buildApart, buildApp } from '../../server/app.js'
import { ApiKeys } from '../../server/api-keys.js'
import { defaultLimits, type Limits } from '../../server/limits.js'
import { listen } from '../../server/listen.js'
import type { Rates } from '../../server/requests/quotas.js'
import { RedisUsageStore } from '../../server/requests/redis-usage-store.js'
import type { ModelSource } from '../../server/models/model-registry.js'
import { openLog } from '../output/log.js'
import { version } from '../../library/package.js'
import { type ServeFlags, serveOptions } from '../options/serve-options.js'
import { openTracing } from '../output/telemetry.js'
import { findModels, sourceOf } from '../../library/open-models.js'

const recoverProcess = fileURLToPath(new URL('../../jobs/recover-process.js', import.meta.url))

export function registerServe(program: Command): void {
  const command = program.command('serve').description('serve models over HTTP and WebSocket')
  serveOptions(command).action(serve)
}

async function serve(flags: ServeFlags): Promise<void> {
  const logger = openLog(flags.logLevel)
  const keys = flags.keys === undefined ? undefined : ApiKeys.open(flags.keys)
  const sources = sourcesOf(flags)
  const [defaultModel = ''] = sources.keys()
  const memoryBytes = flags.memoryMib === undefined ? Infinity : flags.memoryMib * 2 ** 20
  const tracing = flags.otlpEndpoint && (await openTracing(flags.otlpEndpoint, logger))
  const usage = flags.redisUrl && (await RedisUsageStore.open(flags.redisUrl, logger))
  let models = new Map<string, EngineClient>()
  try {
    models = await openModels(sources, memoryBytes)
    let draining = false
    const options: AppOptions = {
      models,
      sources,
      memoryBytes,
      defaultModel,
      logger,
      version,
      limits: limitsOf(flags),
      store: await openStore(flags, logger),
      ...(keys && { keys }),
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
    const address = await listen(app, { ...flags, models, logger, onDrain, operations })
    console.log(greeting(models, address))
    if (operations && flags.adminPort !== undefined) {
      const at = await operations.listen({ host: flags.adminHost, port: flags.adminPort })
      console.log(`metrics and administration are at ${at}`)
    }
  } catch (error) {
    await closeAll([...models.values(), ...(usage ? [usage] : [])])
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

const ratesOf = (flags: ServeFlags): Rates => ({
  ...(flags.requestsPerMinute !== undefined && { requests: flags.requestsPerMinute }),
  ...(flags.tokensPerMinute !== undefined && { tokens: flags.tokensPerMinute }),
  ...(flags.stepsPerMinute !== undefined && { steps: flags.stepsPerMinute }),
  ...(flags.concurrent !== undefined && { concurrent: flags.concurrent }),
})

async function closeAll(opened: readonly { close: () => Promise<void> }[]): Promise<void> {
  await Promise.all(opened.map((each) => each.close()))
}

/**
 * The models by the names that requests use, in the order of the flags. Without --model, those that
 * complete any prompt come before those that fill a grid of fixed length.
 */
function sourcesOf(flags: ServeFlags): Map<string, ModelSource> {
  const directories = chosen(findModels(flags.models), flags)
  const all = directories.map((path) => sourceOf(path, flags))
  const fillsGrid = ([, { model }]: [string, ModelSource]) =>
    Number(model.template?.length !== undefined)
  if (!flags.model) all.sort((a, b) => fillsGrid(a) - fillsGrid(b))
  const sources = new Map(all)
  if (sources.size === directories.length) return sources
  const reason =
    'two models have the same name in their config.json; change one, or choose with --model'
  throw new BasinError('invalid_data', { path: flags.models, reason })
}

/** Opens the first models, as many as memory has room for and at least one. Throws if one fails. */
async function openModels(
  sources: ReadonlyMap<string, ModelSource>,
  memoryBytes: number,
): Promise<Map<string, EngineClient>> {
  let taken = 0
  const first = [...sources].filter(
    ([, { bytes }], i) => (taken += bytes) <= memoryBytes || i === 0,
  )
  const opened = await Promise.allSettled(first.map(([, source]) => source.open()))
  const clients = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = opened.find((each) => each.status === 'rejected')
  if (!failed) return new Map(clients.map((client) => [client.model.name, client]))
  await closeAll(clients)
  throw failed.reason
}

/** The directories that --model names, or all. */
function chosen(directories: readonly string[], { model, models }: ServeFlags): readonly string[] {
  return (
    model?.map((name) => {
      const directory = directories.find((path) => path.endsWith(`/${name}`))
      if (directory) return directory
      const names = directories.map((path) => basename(path)).join(', ')
      throw new BasinError('invalid_data', {
        path: models,
        reason: `there is no model ${name}; there are ${names}`,
      })
    }) ?? directories
  )
}

function greeting(models: ReadonlyMap<string, EngineClient>, address: string): string {
  const served = [...models.values()].flatMap(({ engine, model }) => [
    `  ${model.name}: ${model.description} (${engine.name} on ${engine.backend})`,
    `    curl ${address}/v1/completions -H 'content-type: application/json' -d '${JSON.stringify(example(model))}'`,
  ])
  // The slowest engine is never taken in silence.
  const slow = [...models.values()].find(({ engine }) => engine.name === 'tfjs')
  return [
    `basin ${version} is at ${address}, its documentation at ${address}/docs`,
    ...served,
    ...(slow ? [`  the engine is tfjs: ${slow.engine.reason}`] : []),
  ].join('\n')
}

/** The body of a request that this model can answer. */
function example({ name, template }: ModelConfig): object {
  const { blank, length, example: text } = template ?? {}
  if (text !== undefined) return { model: name, template: text }
  if (blank !== undefined && length !== undefined)
    return { model: name, template: blank.repeat(length) }
  return { model: name, prompt: 'Once upon a time', max_tokens: 64 }
}

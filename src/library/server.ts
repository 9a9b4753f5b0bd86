/**
 * `basin-ebt/server`: Basin's API as a plugin of someone's own Fastify server:
 * `app.register(basin, { models: ['stories'], prefix: '/llm' })`.
 */
import type { FastifyInstance } from 'fastify'
import { LmdbStore } from '../jobs/lmdb-store.js'
import { MemoryStore } from '../jobs/memory-store.js'
import { readConfig } from '../model/config.js'
import { mountApp } from '../server/app.js'
import { ApiKeys } from '../server/api-keys.js'
import { defaultLimits, type Limits } from '../server/limits.js'
import { checkNames, type FoundModel } from './model-folder.js'
import { closeAll, openAll, openEngineClient } from './open-models.js'
import { directoryOf, workerFlags, type OpenModelOptions } from './model.js'
import { version } from './package.js'

export interface BasinOptions extends OpenModelOptions {
  /** Directories of models, or names of those that come with the package; the first answers by default. */
  models: readonly string[]
  /** Of all routes, such as `/llm`; a route of Fastify's own `register`. */
  prefix?: string
  /** What one client may ask for; what is absent has the server's default. */
  limits?: Partial<Limits>
  /** A file of API keys, as `basin keys` writes it. Absent: whoever reaches the app may use the models. */
  keys?: string
  /** A folder for responses that outlive the process. Absent: they are kept in memory. */
  dataDir?: string
  /** Most bytes of stored responses; default 256 MiB. */
  storeBytes?: number
  /** Names by which requests may call the server, as --allowed-host of `basin serve`; `['*']`: any. */
  hosts?: readonly string[]
  /** Origins whose pages may ask, as --cors-origin. */
  origins?: readonly string[]
}

const DEFAULT_STORE_BYTES = 256 * 2 ** 20

/**
 * Opens the models when the app starts and closes them with it. Fastify's encapsulation keeps its hooks and
 * its errors to its own routes. Rejects with what is wrong with a model.
 */
export async function basin(app: FastifyInstance, options: BasinOptions): Promise<void> {
  const {
    dataDir,
    hosts,
    keys,
    limits,
    models,
    origins,
    storeBytes = DEFAULT_STORE_BYTES,
  } = options
  const found = models.map(modelAt)
  checkNames(found, 'models')
  const flags = workerFlags(options)
  const opened = await openAll(found.map(({ directory }) => openEngineClient(directory, flags)))
  app.addHook('onClose', async () => {
    await closeAll(opened.values())
  })
  try {
    const [defaultModel = ''] = opened.keys()
    await mountApp(app, {
      models: opened,
      defaultModel,
      limits: { ...defaultLimits, ...limits },
      logger: app.log,
      version,
      store:
        dataDir === undefined
          ? new MemoryStore(storeBytes)
          : LmdbStore.open(dataDir, storeBytes, (id, reason) => {
              app.log.error({ response: id }, `a stored response is damaged: ${reason}`)
            }),
      ...(keys !== undefined && { keys: ApiKeys.open(keys) }),
      origins: { ...(hosts && { hosts }), ...(origins && { origins }) },
    })
  } catch (error) {
    await closeAll(opened.values())
    throw error
  }
}

export default basin

function modelAt(nameOrDirectory: string): FoundModel {
  const directory = directoryOf(nameOrDirectory)
  return { directory, model: readConfig(directory) }
}

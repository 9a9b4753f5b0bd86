/**
 * Listens, and goes down in good order: from the first signal on new requests are refused with 503 while
 * those that run are finished, up to a deadline; then everything is closed.
 */
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'
import type { EngineClient } from '../generation/client/engine-client.js'
import type { App } from './context.js'

export interface ListenOptions {
  host: string
  port: number
  models: ReadonlyMap<string, EngineClient>
  /** The app of metrics and administration, if it has a port of its own. It is closed last. */
  operations: App | undefined
  /** Most seconds that running answers may still take. */
  drainSeconds: number
  logger: FastifyBaseLogger
  /** Other servers go on with what runs in the background, so that it is left to them at once. */
  shared: boolean
  /** Called once, when the server begins to go down. */
  onDrain: () => void
}

/** For what remains after draining: replies on their way, workers that end. */
const CLOSING_SECONDS = 5

/** Resolves with the address, such as `http://127.0.0.1:8000`. */
export async function listen(app: App, options: ListenOptions): Promise<string> {
  const address = await app.listen({ host: options.host, port: options.port })
  const { drainSeconds, logger, models, onDrain, operations, shared } = options
  const close = async ({ err, signal }: { err?: Error; signal?: string }) => {
    if (err) logger.fatal({ err }, 'going down')
    else logger.info({ signal, drainSeconds }, 'draining')
    onDrain()
    if (shared) await app.handOver()
    const engines = [...models.values()]
    await withDeadline(Promise.all(engines.map((each) => each.drain())), drainSeconds)
    await app.handOver()
    await Promise.all(engines.map((each) => each.close()))
    await withDeadline(app.close(), CLOSING_SECONDS)
    app.server.closeAllConnections()
    await operations?.close()
    logger.info('closed')
  }
  const delay = (drainSeconds + 2 * CLOSING_SECONDS) * 1000
  closeWithGrace({ delay, logger }, close)
  return address
}

async function withDeadline(work: Promise<unknown>, seconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, seconds * 1000)
  })
  await Promise.race([work, deadline])
  clearTimeout(timer)
}

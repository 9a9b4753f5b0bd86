/**
 * `/admin/queues`: what waits in the queues of a fleet and who computes, as a page by bull-board. It changes
 * nothing: a response is cancelled through the API, which knows its state, and a number that is taken out of the
 * queue here would be queued again. Loaded only where there is a fleet; bull-board is an optional package.
 */
import type { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import type {
  AppControllerRoute,
  AppViewRoute,
  BullBoardQueues,
  IServerAdapter,
  UIConfig,
} from '@bull-board/api/typings/app'
import fastifyStatic from '@fastify/static'
import type { Queue } from 'bullmq'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { notInstalled } from '../../optional-package.js'
import type { App } from '../context.js'
import { forAdministrators } from './auth.js'

const PATH = '/admin/queues'

/** Its scripts are files of this server, its styles are partly within the page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** What bull-board says of its page and its routes. */
class Board implements IServerAdapter {
  queues: BullBoardQueues = new Map()
  config: UIConfig = {}
  routes: AppControllerRoute[] = []
  page: AppViewRoute | undefined
  views = ''
  files = ''

  setQueues(queues: BullBoardQueues) {
    this.queues = queues
    return this
  }
  setViewsPath(path: string) {
    this.views = path
    return this
  }
  setStaticPath(_: string, path: string) {
    this.files = path
    return this
  }
  setEntryRoute(route: AppViewRoute) {
    this.page = route
    return this
  }
  /** Failures are answered as those of all routes are. */
  setErrorHandler() {
    return this
  }
  setApiRoutes(routes: AppControllerRoute[]) {
    this.routes = routes
    return this
  }
  setUIConfig(config: UIConfig) {
    this.config = config
    return this
  }
}

/** Adds the page to an app. */
export type QueueBoard = (app: App) => Promise<void>

/** `queues`: gives those that there are at the moment. Where its packages are missing, returns what to install. */
export async function openQueueBoard(
  queues: () => Promise<readonly Queue[]>,
): Promise<QueueBoard | { missing: string }> {
  const board = new Board()
  const made = await create(board)
  if (made.missing !== undefined) return { missing: made.missing }
  const { BullMQAdapter, replaceQueues } = made
  const shown = new Map<Queue, BullMQAdapter>()
  const refresh = async () => {
    for (const queue of await queues()) {
      const displayName = decodeURIComponent(queue.name)
      if (!shown.has(queue))
        shown.set(queue, new BullMQAdapter(queue, { readOnlyMode: true, displayName }))
    }
    replaceQueues([...shown.values()])
  }
  return async (app) => {
    await app.register((scope) => addBoard(scope, board, refresh))
  }
}

async function create(serverAdapter: Board) {
  try {
    const { createBullBoard } = await import('@bull-board/api')
    const { BullMQAdapter } = await import('@bull-board/api/bullMQAdapter')
    const options = { uiConfig: { boardTitle: 'Basin', hideDocsLink: true } }
    // It looks for its other package, @bull-board/ui.
    const { replaceQueues } = createBullBoard({ queues: [], serverAdapter, options })
    return { BullMQAdapter, replaceQueues }
  } catch (error) {
    const missing = notInstalled('@bull-board/api', error)
    if (missing === undefined) throw error
    return { missing: `the page of the queues ${missing}` }
  }
}

type Asked = Parameters<AppControllerRoute['handler']>[0]

async function addBoard(scope: App, board: Board, refresh: () => Promise<void>): Promise<void> {
  scope.addHook('onRoute', (route) => {
    route.config = { ...route.config, page: true }
    route.schema = { ...route.schema, hide: true }
  })
  scope.addHook('onRequest', forAdministrators)
  scope.addHook('onRequest', async (_, reply) => {
    void reply.header('content-security-policy', POLICY)
  })
  const { config, files, page, routes, views } = board
  if (!page) throw new Error('bull-board has no page')
  const { name, params } = page.handler({ basePath: PATH, uiConfig: config })
  // Its fonts are links to another server, which browsers must not be sent to; without them they use their own.
  const template = readFileSync(join(views, name), 'utf8').replace(/<link [^>]*"https:[^>]*>/g, '')
  const html = fill(template, params)
  scope.get(PATH, (_, reply) => reply.redirect(`${PATH}/`))
  for (const route of [page.route].flat())
    scope.get(PATH + route, (_, reply) => reply.type('text/html').send(html))
  await scope.register(fastifyStatic, {
    root: files,
    prefix: `${PATH}/static`,
    decorateReply: false,
  })
  for (const api of routes) {
    if (![api.method].flat().includes('get')) continue
    for (const path of [api.route].flat())
      scope.get(PATH + path, async ({ params, query }, reply) => {
        await refresh()
        const { queues } = board
        const asked = { queues, uiConfig: config, params, query, body: {}, headers: {} }
        const { body, status = 200 } = await api.handler(asked as Asked)
        return reply.code(status).send(body)
      })
  }
}

const escaped: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '"': '&quot;' }

/** Fills the places of a template of EJS that hold nothing but the name of a value. */
function fill(template: string, values: Readonly<Record<string, unknown>>): string {
  return template.replace(/<%([-=]) (\w+) %>/g, (_, kind: string, name: string) => {
    const value = String(values[name])
    return kind === '-' ? value : value.replace(/[&<"]/g, (sign) => escaped[sign] ?? sign)
  })
}

/** The engine in a worker of a tab of Chromium, whose own software adapter needs no driver. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import { chromium } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'

const root = new URL('../..', import.meta.url).pathname
const executablePath = [process.env['BASIN_CHROMIUM'], '/usr/bin/chromium'].find(
  (path) => path !== undefined && existsSync(path),
)
const missing = executablePath === undefined ? ' (no Chromium: apt-get install chromium)' : ''

/** Of 6 x 6 cells, with one solution. */
const puzzle = '_4______6__1_5__2___45____1__63_____'
const solution = '142635536241653124214563421356365412'

const types: Record<string, string> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
}

/** Files of dist, of the models, and the worker; an empty page. */
const serveFiles = () =>
  createServer(({ url = '' }, reply) => {
    const { pathname } = new URL(url, 'http://localhost')
    const path = normalize(pathname)
    const file = path === '/worker.mjs' ? 'test/webgpu/tab-worker.mjs' : path
    const known = /^\/(dist|models|worker)/.test(path) && existsSync(join(root, file))
    reply.writeHead(known || path === '/' ? 200 : 404, {
      'content-type': types[extname(file)] ?? 'text/html',
    })
    reply.end(known ? readFileSync(join(root, file)) : '<!doctype html><title>tab</title>')
  }).listen(0, '127.0.0.1')

interface Told {
  opened?: { name: string; backend: string }
  settled?: { tokens: number[]; steps: number; energy: number }
  failed?: string
}

/** What the page of the test has among its globals. */
interface Page {
  worker: Worker
  told: (message?: number[]) => Promise<Told>
}
interface Worker {
  onmessage: (event: { data: Told }) => void
  onerror: (event: { message: string }) => void
  postMessage: (message: number[]) => void
}
declare const Worker: new (url: string, options: { type: 'module' }) => Worker

describe.skipIf(missing !== '')(`the engine in a browser${missing}`, () => {
  it('solves a puzzle in the tab when nothing is served any more', async () => {
    const tokenizer = openTokenizer(join(root, 'models/sudoku6'))
    const clamped = Array.from(puzzle, (cell) =>
      cell === '_' ? -1 : (tokenizer.encode(cell)[0] as number),
    )
    const server = serveFiles()
    await once(server, 'listening')
    const browser = await chromium.launch({
      ...(executablePath !== undefined && { executablePath }),
      args: ['--headless', '--no-sandbox', '--enable-unsafe-webgpu'],
    })
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    const opened = await page.evaluate(async (): Promise<Told> => {
      const shared = globalThis as unknown as Page
      shared.worker = new Worker('/worker.mjs?model=sudoku6', { type: 'module' })
      shared.told = (message) =>
        new Promise((resolve) => {
          shared.worker.onmessage = ({ data }) => resolve(data)
          shared.worker.onerror = ({ message: failed }) => resolve({ failed })
          if (message) shared.worker.postMessage(message)
        })
      return await shared.told()
    })
    expect(opened).toMatchObject({ opened: { name: 'webgpu' } })
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
    const { failed, settled } = await page.evaluate(
      (tokens) => (globalThis as unknown as Page).told(tokens),
      clamped,
    )
    await browser.close()
    expect(failed).toBeUndefined()
    expect(tokenizer.decode(settled?.tokens ?? [])).toBe(solution)
  }, 600_000)
})

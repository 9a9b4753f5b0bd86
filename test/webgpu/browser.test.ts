/** The engine in a worker of a tab of Chromium gives the golden data of the published implementation. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noChromium, openBrowser } from '../support/chromium.js'
import { golden, relativeError } from '../support/golden.js'

const root = new URL('../..', import.meta.url).pathname
const folders = ['default', 'time_embed', 'adaln', 'prob_dist_embed', 'unnormalized']
const tolerance = 1e-4

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
}

/** Hands out the compiled engine, golden checkpoints and the worker; elsewhere an empty page. */
const hostFiles = (): Server =>
  createServer(({ url = '' }, reply) => {
    const path = normalize(new URL(url, 'http://localhost').pathname)
    const file = path === '/worker.mjs' ? '/test/webgpu/tab-worker.mjs' : path
    const known = /^\/(dist|test)\//.test(file) && existsSync(join(root, file))
    reply.writeHead(known || path === '/' ? 200 : 404, {
      'content-type': types[extname(file)] ?? 'text/html',
    })
    reply.end(known ? readFileSync(join(root, file)) : '<!doctype html><title>tab</title>')
  }).listen(0, '127.0.0.1')

interface Found {
  engine?: string
  steps?: { energies: number[]; logits: number[] }[]
  failed?: string
}

/** Of the browser, which this project's types do not have. */
interface Worker {
  onmessage: (event: { data: Found }) => void
  onerror: (event: { message: string }) => void
  postMessage: (message: unknown) => void
}
declare const Worker: new (url: string, options: { type: 'module' }) => Worker

const title = `the engine in a browser${noChromium === undefined ? '' : ` (${noChromium})`}`
describe.skipIf(noChromium !== undefined)(title, () => {
  let host: Server
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    host = hostFiles()
    await once(host, 'listening')
    browser = await openBrowser({ webgpu: true })
    page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(host.address() as AddressInfo).port}/`)
  })
  afterAll(async () => {
    await browser.close()
    host.closeAllConnections()
    host.close()
  })

  it.each(folders)(
    '%s: energies and logits of every step, all positions in one batch',
    async (folder) => {
      const { config, expected } = golden(folder)
      const { forward: wanted, initial_logits: initial = [], tokens } = expected
      const starts = initial[0] ?? []
      const asked = { config, folder: `/test/golden/${folder}`, tokens, starts }
      const { engine, failed, steps } = await page.evaluate(
        (question) =>
          new Promise<Found>((resolve) => {
            const worker = new Worker('/worker.mjs', { type: 'module' })
            worker.onmessage = ({ data }) => {
              resolve(data)
            }
            worker.onerror = ({ message }) => {
              resolve({ failed: message })
            }
            worker.postMessage(question)
          }),
        asked,
      )
      expect(failed).toBeUndefined()
      expect(engine).toBe('webgpu')
      expect(steps).toHaveLength(wanted?.energies.length ?? 0)
      for (const [step, { energies, logits }] of (steps ?? []).entries()) {
        expect(relativeError(energies, wanted?.energies[step] ?? [])).toBeLessThan(tolerance)
        expect(relativeError(logits, wanted?.logits[step]?.flat() ?? [])).toBeLessThan(tolerance)
      }
    },
    300_000,
  )
})

/** The page computing in the tab of a real Chromium: from files of any host, and beside a server that has gone. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noChromium, openBrowser, visit } from '../support/chromium.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const reason = noChromium ?? (shipped ? undefined : 'the shipped models are not there')
const program = fileURLToPath(new URL('../../web/export.mjs', import.meta.url))

const TEMPLATE = '_4______6__1_5__2___45____1__63_____'
const SOLUTION = '142635536241653124214563421356365412'
/** The same puzzle with its digits renamed. */
const renamed = (text: string): string =>
  Array.from(text, (digit) => '345621'[Number(digit) - 1] ?? digit).join('')

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
}

/** Hands out the files of a folder and nothing else, as any host does. */
async function hostFiles(folder: string): Promise<HttpServer> {
  const host = createServer(({ url = '/' }, reply) => {
    const { pathname } = new URL(url, 'http://localhost')
    const file = join(folder, normalize(pathname === '/' ? '/index.html' : pathname))
    if (!existsSync(file)) {
      reply.writeHead(404).end()
      return
    }
    const type = types[extname(file)] ?? 'application/octet-stream'
    reply.writeHead(200, { 'content-type': type }).end(readFileSync(file))
  }).listen(0, '127.0.0.1')
  await once(host, 'listening')
  return host
}

async function stopHost(host: HttpServer): Promise<void> {
  host.closeAllConnections()
  host.close()
  await once(host, 'close')
}

const board = (page: Page) =>
  page.evaluate<string>(
    `Array.from(document.querySelectorAll('.sudoku [role=gridcell]'), (cell) =>
      cell.querySelector('.digit')?.textContent ?? '_').join('')`,
  )

/** Compiling for a software adapter takes seconds. */
const SETTLED_MS = 240_000
const settled = (page: Page) =>
  page
    .locator('.state')
    .getByText(/^Settled: /)
    .waitFor({ timeout: SETTLED_MS })

async function solve(page: Page, template: string): Promise<string> {
  await page.locator('#input').fill(template)
  await page.locator('button.go').click()
  await settled(page)
  return board(page)
}

describe.skipIf(reason !== undefined)(`the page in a tab (${reason ?? 'with Chromium'})`, () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openBrowser({ webgpu: true })
  })
  afterAll(() => browser.close())

  it('written as files, solves a sudoku with no server, and another when its host has gone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'basin-page-'))
    execFileSync(process.execPath, [program, '--out', folder, '--model', 'sudoku6'])
    const host = await hostFiles(folder)
    const address = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
    const link = `#model=sudoku6&input=${TEMPLATE}&effort=high&pace=0&run=1`
    const { close, complaints, page, requests } = await visit(browser, `${address}/${link}`)
    await settled(page)
    expect(await board(page)).toBe(SOLUTION)
    expect(await page.getByTestId('tab').textContent()).toMatch(/runs in this tab, on \S/)
    await stopHost(host)
    expect(await solve(page, renamed(TEMPLATE))).toBe(renamed(SOLUTION))
    for (const url of requests) expect(url).toContain(address)
    expect(complaints).toEqual([])
    await close()
  }, 600_000)

  it('switched to this browser, solves a sudoku when the server has stopped', async () => {
    const server = await Server.start(shippedModels, '--model', 'sudoku6', '--model-files', 'on')
    const link = `#model=sudoku6&input=${TEMPLATE}&effort=high&pace=0&run=1`
    const { close, page } = await visit(browser, `${server.url}/${link}`)
    await settled(page)
    const taken = await server.metric('basin_refinement_steps_total')
    expect(taken).toBeGreaterThan(0)
    await page.getByRole('radio', { name: 'this browser' }).check({ force: true })
    await page.getByTestId('tab').getByText('runs in this tab').waitFor({ timeout: SETTLED_MS })
    await settled(page)
    expect(await board(page)).toBe(SOLUTION)
    expect(await server.metric('basin_refinement_steps_total')).toBe(taken)
    expect(await server.stop()).toMatchObject({ code: 0 })
    expect(await solve(page, renamed(TEMPLATE))).toBe(renamed(SOLUTION))
    await close()
  }, 600_000)

  it('steers an answer as on a server: pause, one step, extend, and looks around it', async () => {
    const server = await Server.start(shippedModels, '--model', 'sudoku6', '--model-files', 'on')
    const link = `#model=sudoku6&input=${TEMPLATE}&steps=6&pace=4&in=browser&run=1`
    const { close, page } = await visit(browser, `${server.url}/${link}`)
    const step = async (): Promise<number> =>
      Number(/step (\d+)/.exec((await page.locator('.where').textContent()) ?? '')?.[1])
    await expect.poll(step, { timeout: SETTLED_MS }).toBeGreaterThan(0)
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    await page.locator('.state').getByText('Paused.').waitFor()
    const before = await step()
    await page.getByRole('button', { name: 'One step', exact: true }).click()
    await expect.poll(step, { timeout: SETTLED_MS }).toBe(before + 1)
    await page.getByRole('button', { name: 'Play', exact: true }).click()
    await settled(page)
    expect(await step()).toBe(6)
    await page.getByRole('button', { name: /^Extend/ }).click()
    await expect.poll(step, { timeout: SETTLED_MS }).toBeGreaterThan(6)
    await page.getByRole('button', { name: 'Look around the answer' }).click()
    await page
      .getByRole('img', { name: /^Energy around the answer/ })
      .waitFor({ timeout: SETTLED_MS })
    await server.stop()
    await close()
  }, 600_000)
})

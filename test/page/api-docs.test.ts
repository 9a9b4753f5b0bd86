/** The page at /docs in a real Chromium: Authorize, Try it out, Execute. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { noChromium, openBrowser, visit } from '../support/chromium.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const reason = noChromium ?? (shipped ? undefined : 'the shipped models are not there')
if (reason !== undefined) console.warn(`the page of the API is not tested: ${reason}`)

describe.skipIf(reason !== undefined)('the page of the API', () => {
  let browser: Browser
  let server: Server
  let key: string

  beforeAll(async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'basin-docs-')), 'keys.json')
    key = addKey(file, 'alice')
    server = await Server.start(shippedModels, '--keys', file)
    browser = await openBrowser()
  })
  afterAll(async () => {
    await browser.close()
    await server.stop()
  })

  it.each([
    ['createCompletion', 'text', '"text_completion"'],
    ['createChatCompletion', 'sudoku', '142635536241653124214563421356365412'],
  ])('executes %s as offered (%s) once it has a key', async (operation, kind, expected) => {
    const { close, complaints, page, requests } = await visit(browser, `${server.url}/docs`)
    await page.getByRole('button', { name: 'Authorize' }).first().click()
    await page.getByLabel('auth-bearer-value').fill(key)
    await page.getByRole('button', { name: 'Apply credentials' }).first().click()
    await page.getByRole('button', { name: 'Close' }).first().click()
    const block = page.locator(`[id$="-${operation}"]`)
    await block.locator('.opblock-summary-control').click()
    await block.locator('.examples-select select').first().selectOption(kind)
    await block.getByRole('button', { name: 'Execute' }).click()
    const live = block.locator('.live-responses-table')
    expect(await live.locator('.response-col_status').last().textContent()).toContain('200')
    expect(await live.textContent()).toContain(expected)
    expect(
      requests.filter((url) => !url.startsWith(server.url) && !/^(data|blob):/.test(url)),
    ).toEqual([])
    expect(complaints).toEqual([])
    await close()
  })
})

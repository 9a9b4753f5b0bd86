/**
 * Pictures of every kind of drawing, wide and narrow, in build/page/, for somebody to look at. What can
 * be told without looking is: nothing is wider than the screen, nothing is asked of another server, the
 * console stays empty, and axe-core objects to nothing, in light and in dark.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeTaskModel } from '../../src/cli/task-model.js'
import { writeCheckpoint } from '../../src/model/checkpoint.js'
import { parseConfig } from '../../src/model/config.js'
import { colouringTask } from '../../src/train/tasks/colouring.js'
import { dyckTask } from '../../src/train/tasks/dyck.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { pathTask } from '../../src/train/tasks/paths.js'
import { sortingTask } from '../../src/train/tasks/sorting.js'
import { noChromium, objections, openBrowser, visit } from '../support/chromium.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const reason = noChromium ?? (shipped ? undefined : 'the shipped models are not there')
const pictures = fileURLToPath(new URL('../../build/page/', import.meta.url))

/** Tasks that no shipped model is for: these models have random weights, and their layout. */
const tasks = {
  maze: pathTask({ rooms: { min: 4, max: 5 }, side: 11, loops: 0 }),
  brackets: dyckTask({ length: { min: 8, max: 12 }, kinds: 3, block: 24 }),
  graph: colouringTask({
    vertices: { min: 12, max: 14 },
    room: 14,
    degree: 4,
    colours: 3,
    givens: { min: 3, max: 4 },
  }),
  sorting: sortingTask({ items: { min: 8, max: 10 }, width: 12 }),
}

function modelsOfAllKinds(): string {
  const root = mkdtempSync(join(tmpdir(), 'basin-kinds-'))
  for (const name of ['addition', 'stories', 'sudoku6', 'sudoku9', 'tales', 'worlds'])
    cpSync(join(shippedModels, name), join(root, name), { recursive: true })
  for (const [name, task] of Object.entries(tasks)) {
    const directory = join(root, name)
    writeTaskModel(directory, name, task)
    const path = join(directory, 'config.json')
    const config = parseConfig(JSON.parse(readFileSync(path, 'utf8')), path)
    writeCheckpoint(directory, { config, tensors: initialWeights(config, 3, 0.5) })
  }
  return root
}

/** Without motion, in which colours would change over a moment; what follows them is drawn in the next frame. */
async function colour(page: Page, colorScheme: 'light' | 'dark'): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
  await page.evaluate<unknown>(
    'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))',
  )
}

describe.skipIf(reason !== undefined)('a picture', () => {
  let browser: Browser
  let server: Server

  beforeAll(async () => {
    mkdirSync(pictures, { recursive: true })
    server = await Server.start(modelsOfAllKinds())
    browser = await openBrowser()
  })

  afterAll(async () => {
    await browser.close()
    await server.stop()
  })

  const kinds = [
    'sudoku6',
    'sudoku9',
    'addition',
    'stories',
    'tales',
    'worlds',
    'maze',
    'graph',
    'brackets',
    'sorting',
  ]
  const screens = [
    { width: 1280, height: 900, dark: false },
    { width: 390, height: 844, dark: true },
  ]
  const cases = kinds.flatMap((model) => screens.map((screen) => ({ model, ...screen })))

  it.each(cases)('of $model at $width pixels fits', async ({ model, ...screen }) => {
    const url = `${server.url}/#model=${model}&steps=2&pace=0&run=1`
    const { close, complaints, page, requests } = await visit(browser, url, screen)
    await page
      .locator('.state')
      .getByText(/^Settled: /)
      .waitFor()
    const [wide = 0, seen = 0] = await page.evaluate<number[]>(
      '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
    )
    expect(wide).toBe(seen)
    const name = `${model}-${String(screen.width)}-${screen.dark ? 'dark' : 'light'}.png`
    await page.screenshot({ path: join(pictures, name), fullPage: true })
    for (const colorScheme of ['light', 'dark'] as const) {
      await colour(page, colorScheme)
      expect([colorScheme, ...(await objections(page))]).toEqual([colorScheme])
    }
    expect(complaints).toEqual([])
    for (const request of requests) expect(new URL(request).host).toBe(new URL(server.url).host)
    await close()
  })

  it.each(screens)('of each view at $width pixels fits', async (screen) => {
    for (const view of ['compare', 'many', 'models']) {
      const url = `${server.url}/#model=sudoku6&pace=0&view=${view}`
      const { close, complaints, page } = await visit(browser, url, screen)
      const begin = page.getByRole('button', { name: view === 'many' ? 'Begin 64' : 'Go' })
      if (view !== 'models') await begin.click()
      if (view === 'compare')
        await page
          .getByText(/^Settled: /)
          .nth(1)
          .waitFor()
      if (view === 'many') await page.locator('[data-settled="64"]').waitFor()
      const [wide = 0, seen = 0] = await page.evaluate<number[]>(
        '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
      )
      expect(wide).toBe(seen)
      const name = `${view}-${String(screen.width)}-${screen.dark ? 'dark' : 'light'}.png`
      await page.screenshot({ path: join(pictures, name), fullPage: true })
      expect(complaints).toEqual([])
      await close()
    }
  })
})

/**
 * A real browser for tests of the page: Debian's Chromium, driven over its own protocol. Nothing is
 * downloaded; where no browser is installed, `noChromium` says so.
 */
import axe from 'axe-core'
import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = [process.env['BASIN_CHROMIUM'], ...places].find(
  (path) => path !== undefined && existsSync(path),
)

/** Why there is none; undefined where there is one. */
export const noChromium =
  executablePath === undefined
    ? `no Chromium at ${places.join(', ')} or BASIN_CHROMIUM (apt-get install chromium)`
    : undefined

/** `webgpu`: with the software adapter that Chromium brings, where there is no GPU. */
export const openBrowser = ({ webgpu = false } = {}): Promise<Browser> =>
  chromium.launch({
    ...(executablePath !== undefined && { executablePath }),
    args: [
      '--headless',
      '--no-sandbox',
      webgpu ? '--enable-unsafe-webgpu' : '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

export interface Visit {
  width?: number
  height?: number
  dark?: boolean
  /** A first visit has the tour open. */
  first?: boolean
  /** Runs in the page before its own script. */
  before?: () => void
}

/** A tab of its own, and what it complained of. */
export interface Tab {
  page: Page
  /** Errors and warnings of the console, and exceptions. */
  complaints: string[]
  /** Addresses that it asked for. */
  requests: string[]
  close: () => Promise<void>
}

export async function visit(
  browser: Browser,
  url: string,
  { before, dark = false, first = false, height = 900, width = 1280 }: Visit = {},
): Promise<Tab> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    permissions: ['clipboard-read', 'clipboard-write'],
  })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const complaints: string[] = []
  const requests: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => requests.push(request.url()))
  if (!first) await page.addInitScript("localStorage.setItem('basin-tour', 'seen')")
  if (before) await page.addInitScript(before)
  await page.goto(url)
  return { page, complaints, requests, close: () => context.close() }
}

/**
 * What axe-core objects to, with the elements at fault. The policy of the page lets no script in; the tool comes
 * by the debugger.
 */
export async function objections(page: Page): Promise<unknown[]> {
  await page.evaluate(axe.source)
  return page.evaluate<unknown[]>(
    `axe.run(document).then(({ violations }) =>
      violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`,
  )
}

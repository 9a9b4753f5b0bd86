/** The page in a real Chromium, against the built server with the shipped models. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import {
  noChromium,
  objections,
  openBrowser,
  type Tab,
  visit,
  type Visit,
} from '../support/chromium.js'
import { freePort } from '../support/free-port.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const reason = noChromium ?? (shipped ? undefined : 'the shipped models are not there')
if (reason !== undefined) console.warn(`the page is not tested: ${reason}`)

/** Of the shipped 6x6 models' example. */
const SOLUTION = '142635536241653124214563421356365412'
const TEMPLATE = '_4______6__1_5__2___45____1__63_____'

describe.skipIf(reason !== undefined)('the page', () => {
  let browser: Browser
  let server: Server
  const tabs: Tab[] = []

  /** `hash`: what the link says; the tab is closed with the test. */
  async function open(hash = '', options: Visit = {}, url = server.url): Promise<Tab> {
    const tab = await visit(browser, `${url}/${hash}`, options)
    tabs.push(tab)
    return tab
  }

  const eventually = <T>(value: () => T | Promise<T>) =>
    expect.poll(value, { timeout: 20_000, interval: 50 })

  const link = (fields: Record<string, string | number>): string =>
    `#${Object.entries(fields)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join('&')}`

  beforeAll(async () => {
    server = await Server.start(shippedModels)
    browser = await openBrowser()
  })

  afterAll(async () => {
    await browser.close()
    await server.stop()
  })

  afterEach(async () => {
    for (const tab of tabs.splice(0)) await tab.close()
  })

  /** What the page says of the run. */
  const says = (page: Page, text: string | RegExp) =>
    page.locator('.state').getByText(text).waitFor()
  const settled = (page: Page) => says(page, /^Settled: /)
  const energy = async (page: Page): Promise<number> =>
    Number(await page.getByTestId('energy').textContent())
  const step = async (page: Page): Promise<number> =>
    Number(/step (\d+)/.exec((await page.locator('.where').textContent()) ?? '')?.[1])
  /** What stands in the cells of a board: its most certain digits. */
  const board = (page: Page) =>
    page.evaluate<string>(
      `Array.from(document.querySelectorAll('.sudoku [role=gridcell]'), (cell) =>
        cell.querySelector('.digit')?.textContent ?? '_').join('')`,
    )
  const press = (page: Page, name: string) =>
    page.getByRole('button', { name, exact: true }).click()

  describe('a newcomer', () => {
    it('sees an energy fall without a click, and a board settle', async () => {
      const { complaints, page, requests } = await open('', { first: true })
      await says(page, 'Settling.')
      await eventually(() => energy(page)).toBeGreaterThan(0)
      const first = await energy(page)
      await settled(page)
      expect(await energy(page)).toBeLessThan(first / 100)
      const label = await page.locator('.chart').getAttribute('aria-label')
      const [, at = NaN, best = NaN] = /: (\S+) at first, (\S+) at best/.exec(label ?? '') ?? []
      expect(Number(best)).toBeLessThan(Number(at) / 100)
      expect(await board(page)).toBe(SOLUTION)
      expect(complaints).toEqual([])
      for (const url of requests) expect(url).toContain(server.url)
    })

    it('is told what falls and why in five sentences', async () => {
      const { page } = await open('', { first: true })
      const tour = page.getByRole('region', { name: 'Guided tour' })
      const sentences = new Set<string>()
      for (let i = 0; i < 5; i++) {
        const text = (await tour.locator('.sentence').textContent()) ?? ''
        expect(text).toMatch(/^[A-Z].*\.$/)
        sentences.add(text)
        await tour.locator('button.primary').click()
      }
      expect(sentences.size).toBe(5)
      await eventually(() => tour.count()).toBe(0)
      await page.reload()
      await says(page, 'Settling.')
      expect(await tour.count()).toBe(0)
    })
  })

  describe('rules', () => {
    it('are added by a reader, told at every step, and travel in the link', async () => {
      const asked = { model: 'sudoku6', input: TEMPLATE, effort: 'medium', pace: 0, rule: '0 < 2' }
      const { complaints, page } = await open(link({ ...asked, run: 1 }))
      await settled(page)
      const first = page.getByTestId('rule-0')
      await eventually(() => first.textContent()).toMatch(/^(kept|broken), [0-9.e-]+$/)
      await page.getByLabel('Rules and wishes').fill('sum 0 1 2 = ')
      expect(await page.getByRole('button', { name: 'Add' }).isDisabled()).toBe(true)
      await page.getByLabel('Rules and wishes').fill('sum 0 1 2 3 4 5 = 21')
      await press(page, 'Add')
      await eventually(() => page.getByTestId('rule-1').textContent()).toBe('not asked yet')
      await page.keyboard.press('Escape')
      await press(page, 'Remove 0 < 2')
      await eventually(() => page.getByTestId('rule-1').count()).toBe(0)
      await page.locator('.transport button').first().click()
      await settled(page)
      await eventually(() => first.textContent()).toMatch(/^kept, /)
      expect(complaints).toEqual([])
    })
  })

  describe('steering', () => {
    const long = link({ model: 'sudoku6-exact', input: TEMPLATE, steps: 100_000, pace: 0, run: 1 })

    it('stands still when it is paused, on the page and in the engine', async () => {
      const { complaints, page } = await open(long)
      await eventually(() => step(page)).toBeGreaterThan(50)
      await press(page, 'Pause')
      await says(page, 'Paused.')
      const steps = () => server.metric('basin_refinement_steps_total')
      // What was under way when the pause arrived is counted by the next report.
      let taken = await steps()
      await eventually(async () => {
        const before = taken
        await page.waitForTimeout(150)
        taken = await steps()
        return taken - before
      }).toBe(0)
      const [at, shown] = [await step(page), await energy(page)]
      await page.waitForTimeout(400)
      expect([await step(page), await energy(page), await steps()]).toEqual([at, shown, taken])
      await press(page, 'One step')
      await eventually(() => step(page)).toBeGreaterThan(at)
      const one = await step(page)
      await page.waitForTimeout(200)
      expect(await step(page)).toBe(one)
      await press(page, 'Play')
      await eventually(() => step(page)).toBeGreaterThan(one + 50)
      await press(page, 'Finish')
      await says(page, 'Settled: you asked for the best so far.')
      expect(await board(page)).toBe(SOLUTION)
      expect(complaints).toEqual([])
    })

    it('takes one step at a time where it goes slowly', async () => {
      const { page } = await open(
        link({ model: 'sudoku6', input: TEMPLATE, effort: 'medium', pace: 1, run: 1 }),
      )
      await eventually(() => step(page)).toBe(1)
      await press(page, 'Pause')
      const at = await step(page)
      for (let i = 1; i <= 4; i++) {
        await press(page, 'One step')
        await eventually(() => step(page)).toBe(at + i)
      }
    })

    it('goes on from a settled answer when it is extended', async () => {
      const { page } = await open(
        link({ model: 'sudoku6', input: TEMPLATE, effort: 'minimal', pace: 0, run: 1 }),
      )
      await says(page, 'Settled: the steps were spent.')
      expect(await step(page)).toBe(1)
      const before = await energy(page)
      await page.getByRole('button', { name: 'Extend +16' }).click()
      await eventually(() => step(page)).toBe(17)
      expect(await energy(page)).toBeLessThan(before / 100)
      expect(await board(page)).toBe(SOLUTION)
    })

    it('keeps a cell that is edited while it settles, and the rest follows', async () => {
      const { complaints, page } = await open(
        link({ model: 'sudoku6', input: TEMPLATE, steps: 64, pace: 16, run: 1 }),
      )
      await eventually(() => step(page)).toBeGreaterThan(3)
      const at = await step(page)
      const cell = page.locator('[data-position="3"]')
      await cell.click()
      await page.keyboard.press('2')
      await eventually(() => cell.textContent()).toBe('2')
      const realTime = page.getByRole('radio', { name: 'real time' })
      await realTime.check({ force: true })
      await settled(page)
      expect(await cell.textContent()).toBe('2')
      expect(await cell.getAttribute('class')).toContain('own')
      // It is the same run: the steps before the edit are still there.
      expect(await step(page)).toBeGreaterThan(at)
      const wrong = await energy(page)
      // Opened again, it settles on what fits, and so does what had followed it.
      await cell.click()
      await page.keyboard.press('Backspace')
      await eventually(() => board(page)).toBe(SOLUTION)
      await settled(page)
      expect(await energy(page)).toBeLessThan(wrong)
      await page.getByLabel('Step', { exact: true }).fill('1')
      expect(await cell.getAttribute('class')).not.toContain('own')
      expect(complaints).toEqual([])
    })

    it('puts another word in a story, and the rest follows', async () => {
      const { page } = await open(
        link({ model: 'stories', input: 'Once upon a time', tokens: 12, pace: 0, run: 1 }),
      )
      await settled(page)
      await page.locator('.piece').nth(4).click()
      await page.getByLabel('Your own word').fill('purple')
      await press(page, 'Put it there')
      await eventually(() => page.locator('.prompt').textContent()).toMatch(/ purple$/)
      await settled(page)
      expect(await page.locator('.piece').count()).toBe(7)
    })

    it('keeps a fact of a story that is chosen among those weighed for it', async () => {
      const told = [' Tom entered the hall.', ' Anna went to Tom.', ' Anna took the milk.']
      const input = `Story:${told.map((sentence) => `${sentence} Mary _ _ Tom _ _ Anna _ _`).join('')}${' -'.repeat(9 * 14)}`
      const { complaints, page } = await open(link({ model: 'worlds', input, pace: 0, run: 1 }))
      await settled(page)
      const facts = page.locator('.slot').last().locator('.clause')
      expect(await facts.allTextContents()).toEqual([
        'Mary nothing away',
        'Tom nothing hall',
        'Anna milk hall',
      ])
      const sentence = page.locator('.slot').first().locator('p').first()
      expect(await sentence.textContent()).toBe('Tom entered the hall.')
      const first = page.locator('.slot').first().locator('.piece')
      expect(await first.count()).toBe(6)
      await first.nth(3).click()
      await page.getByText('Weighed for this word').waitFor()
      const word = page.locator('.replacement button').first()
      // A token begins with its space, which is drawn.
      expect(await word.locator('.token').textContent()).toBe('\u2423hall')
      await word.click()
      await eventually(() => first.nth(3).getAttribute('class')).toContain('own')
      expect(await first.nth(3).textContent()).toBe(' hall')
      await settled(page)
      expect(complaints).toEqual([])
    })

    it('works from the keyboard alone', async () => {
      const { page } = await open(link({ model: 'sudoku6', input: TEMPLATE, pace: 0 }))
      const focused = (attribute: string) =>
        page.evaluate<string | null>(`document.activeElement.getAttribute('${attribute}')`)
      await says(page, 'Ready.')
      await page.keyboard.press('Enter')
      await settled(page)
      await page.keyboard.press('Home')
      await eventually(() => step(page)).toBe(1)
      await page.keyboard.press('ArrowRight')
      await eventually(() => step(page)).toBe(2)
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press('Tab')
        if ((await focused('role')) === 'gridcell') break
      }
      await page.keyboard.press('ArrowDown')
      expect(await focused('data-position')).toBe('6')
      await page.keyboard.press('3')
      await eventually(() => page.locator('[data-position="6"]').textContent()).toBe('3')
    })
  })

  describe('a run that is over', () => {
    it('shows any step again, the first with its energy', async () => {
      const { page } = await open(link({ model: 'sudoku6', input: TEMPLATE, pace: 0, run: 1 }))
      await settled(page)
      const last = await energy(page)
      await page.getByLabel('Step', { exact: true }).fill('1')
      expect(await step(page)).toBe(1)
      const label = await page.locator('.chart').getAttribute('aria-label')
      expect(await energy(page)).toBe(Number(/: (\S+) at first/.exec(label ?? '')?.[1]))
      expect(await board(page)).not.toBe(SOLUTION)
      await page.getByLabel('Step', { exact: true }).fill('16')
      expect(await energy(page)).toBe(last)
      expect(await board(page)).toBe(SOLUTION)
    })

    it.each([
      ['stories', /word 8, step \d+$/, 'text, word by word'],
      ['tales', /block 1, step \d+$/, 'text, in blocks of 32 tokens'],
    ])('says which part of the text of %s settled last', async (model, where, answers) => {
      const asked = { model, input: 'Once upon a time', tokens: 8, steps: 2, pace: 0, run: 1 }
      const { page } = await open(link(asked))
      await settled(page)
      expect(await page.locator('.energy .at').textContent()).toMatch(where)
      const models = await open(link({ model, view: 'models' }))
      const card = models.page.locator('article', { hasText: answers })
      await eventually(() => card.count()).toBe(1)
    })

    it('is the same behind its link', async () => {
      const { page } = await open(
        link({ model: 'sudoku6-exact', input: TEMPLATE, effort: 'high', seed: 7, pace: 0, run: 1 }),
      )
      await settled(page)
      await page.getByLabel('Step', { exact: true }).fill('3')
      await press(page, 'Copy a link')
      const copied = await page.evaluate<string>('navigator.clipboard.readText()')
      const other = await open(new URL(copied).hash)
      await eventually(() => step(other.page)).toBe(3)
      for (const name of ['Model', 'Template', 'Seed'])
        expect(await other.page.getByLabel(name, { exact: true }).inputValue()).toBe(
          await page.getByLabel(name, { exact: true }).inputValue(),
        )
      expect(await other.page.getByRole('radio', { name: 'high', exact: true }).isChecked()).toBe(
        true,
      )
      expect(await energy(other.page)).toBe(await energy(page))
      expect(await board(other.page)).toBe(await board(page))
    })

    it('can be taken along as JSON and as an SVG that moves', async () => {
      const { page } = await open(link({ model: 'sudoku6', input: TEMPLATE, pace: 0, run: 1 }))
      await settled(page)
      const saved = async (name: string): Promise<string> => {
        const download = page.waitForEvent('download')
        await press(page, name)
        return readFileSync(await (await download).path(), 'utf8')
      }
      const json = JSON.parse(await saved('Save the run (JSON)')) as {
        moments: unknown[]
        ending: { text: string }
      }
      expect(json.moments).toHaveLength(16)
      expect(json.ending.text).toBe(SOLUTION)
      const svg = await saved('Save it moving (SVG)')
      const count = (selector: string) =>
        page.evaluate<number>(
          `new DOMParser().parseFromString(${JSON.stringify(svg)}, 'image/svg+xml')
            .querySelectorAll('${selector}').length`,
        )
      expect(await count('parsererror')).toBe(0)
      expect(await count('animate')).toBeGreaterThan(10)
      expect(await count('text.given')).toBe(10)
    })

    it('is what the code asks for, in each language', async () => {
      const { page } = await open(link({ model: 'sudoku6', input: TEMPLATE, pace: 0, run: 1 }))
      await settled(page)
      const run: Record<string, [string, string[]]> = {
        curl: ['bash', ['-c']],
        TypeScript: [process.execPath, ['--input-type=module', '-e']],
        Python: ['python3', ['-c']],
      }
      for (const [language, [program, flags]] of Object.entries(run)) {
        await press(page, language)
        const code = (await page.locator('.code code').textContent()) ?? ''
        const said = execFileSync(program, [...flags, code], { encoding: 'utf8', stdio: 'pipe' })
        expect(said, language).toContain(SOLUTION)
      }
    })
  })

  describe('understanding', () => {
    it.each(['sudoku6-exact', 'addition', 'stories'])(
      'shows the landscape of %s with the path of the descent',
      async (model) => {
        const { complaints, page } = await open(link({ model, pace: 0, run: 1 }))
        await settled(page)
        await press(page, 'Look around the answer')
        const picture = page.getByRole('img', { name: /^Energy around the answer/ })
        await picture.waitFor()
        const [, from = NaN, to = NaN] =
          /from (\S+) to (\S+)$/.exec((await picture.getAttribute('aria-label')) ?? '') ?? []
        expect(Number(to)).toBeLessThan(Number(from))
        const colours = await page.evaluate<number>(`(() => {
          const canvas = document.querySelector('.landscape canvas')
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
          const seen = new Set()
          for (let i = 0; i < data.length; i += 4 * 97) seen.add(data[i] + ' ' + data[i + 1])
          return seen.size
        })()`)
        expect(colours).toBeGreaterThan(30)
        expect(complaints).toEqual([])
      },
    )

    it('compares two budgets on one question', async () => {
      const { page } = await open(
        link({ model: 'sudoku6', input: TEMPLATE, view: 'compare', pace: 0 }),
      )
      await page.getByLabel('Effort A').selectOption('minimal')
      await page.getByLabel('Effort B').selectOption('medium')
      await press(page, 'Go')
      const [a, b] = [page.getByLabel('Side A'), page.getByLabel('Side B')]
      for (const side of [a, b]) await side.getByText('Settled: the steps were spent.').waitFor()
      const energyOf = async (side: typeof a) =>
        Number(/energy (\S+),/.exec((await side.locator('.where').textContent()) ?? '')?.[1])
      expect(await energyOf(b)).toBeLessThan((await energyOf(a)) / 100)
    })

    it('settles 64 answers at once, each over a socket of its own', async () => {
      const { complaints, page } = await open(link({ model: 'sudoku6', view: 'many', pace: 0 }))
      await press(page, 'Begin 64')
      await eventually(() => page.locator('.many-state').getAttribute('data-settled')).toBe('64')
      expect(await page.locator('.many-state').textContent()).toContain(`${64 * 16} steps`)
      expect(complaints).toEqual([])
    })
  })

  describe('a server that', () => {
    it('answers to keys is asked with the one that is typed', async () => {
      const file = join(mkdtempSync(join(tmpdir(), 'basin-page-')), 'keys.json')
      const key = addKey(file, 'reader')
      const admin = addKey(file, 'operator', true)
      const models = ['--model', 'sudoku6', '--model', 'sudoku9']
      const locked = await Server.start(shippedModels, ...models, '--keys', file)
      try {
        const { page } = await open(
          link({ model: 'sudoku6', input: TEMPLATE, pace: 0, run: 1 }),
          {},
          locked.url,
        )
        const field = page.getByLabel('This server answers to keys. Yours:')
        await field.fill('basin_wrong')
        await press(page, 'Use it')
        await page.getByText('The server does not know the one you gave.').waitFor()
        await field.fill(key)
        await press(page, 'Use it')
        await settled(page)
        expect(await board(page)).toBe(SOLUTION)
        const operator = await open('#', {}, locked.url)
        await operator.page.getByLabel('This server answers to keys. Yours:').fill(admin)
        await press(operator.page, 'Use it')
        await operator.page.getByRole('tab', { name: 'Models' }).click()
        const card = operator.page.locator('article', { hasText: '9x9' })
        await card.getByText('loaded', { exact: true }).waitFor()
        await card.getByRole('button', { name: 'Unload' }).click()
        await card.getByText('unloaded', { exact: true }).waitFor()
        await card.getByRole('button', { name: 'Load', exact: true }).click()
        await card.getByText('loaded', { exact: true }).waitFor()
      } finally {
        await locked.stop()
      }
    })

    it('no WebSocket reaches is asked for a stream, and says what that cannot', async () => {
      for (const without of ['absent', 'blocked'] as const) {
        const { page } = await open(
          link({ model: 'sudoku6', input: TEMPLATE, pace: 0, run: 1 }),
          without === 'absent'
            ? { before: () => Reflect.deleteProperty(globalThis, 'WebSocket') }
            : {},
        )
        if (without === 'blocked') {
          await page.routeWebSocket(/refine/, (socket) => socket.close())
          await page.reload()
        }
        await page.getByText(/^No WebSocket gets through/).waitFor()
        await settled(page)
        expect(await board(page)).toBe(SOLUTION)
        await page.getByLabel('Step', { exact: true }).fill('1')
        expect(await step(page)).toBe(1)
      }
    })

    it('goes away is waited for, and used when it is back', async () => {
      const served = ['--model', 'sudoku6-exact', '--port', String(await freePort())]
      const first = await Server.start(shippedModels, ...served)
      const { page } = await open(
        link({ model: 'sudoku6-exact', input: TEMPLATE, steps: 100_000, pace: 0, run: 1 }),
        {},
        first.url,
      )
      await eventually(() => step(page)).toBeGreaterThan(10)
      first.signal('SIGKILL')
      await page.getByText(/^The server is not there/).waitFor()
      await says(page, /^It failed: the connection broke/)
      await page.getByLabel('Step', { exact: true }).fill('2')
      expect(await step(page)).toBe(2)
      const second = await Server.start(shippedModels, ...served)
      try {
        await eventually(() => page.getByText(/^The server is not there/).count()).toBe(0)
        await page.getByRole('radio', { name: 'high', exact: true }).check({ force: true })
        await press(page, 'Again')
        await settled(page)
        expect(await board(page)).toBe(SOLUTION)
      } finally {
        await second.stop()
      }
    })
  })

  describe('accessibility', () => {
    it.each([
      ['watch', false],
      ['watch', true],
      ['compare', false],
      ['many', true],
      ['models', false],
    ] as const)('has nothing that axe-core objects to: %s, dark: %s', async (view, dark) => {
      const { page } = await open(
        link({ model: view === 'many' ? 'stories' : 'sudoku6', view, pace: 0, run: 1 }),
        { dark, first: view === 'watch' },
      )
      if (view === 'watch') {
        await settled(page)
        await press(page, 'Tour')
        await press(page, 'Look around the answer')
        await page.getByRole('img', { name: /^Energy around the answer/ }).waitFor()
      }
      if (view === 'compare') await press(page, 'Go')
      await page.waitForTimeout(800)
      expect(await objections(page)).toEqual([])
    })
  })
})

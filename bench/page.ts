/**
 * How the page moves on this machine: seconds until something is drawn, until an energy falls, and the
 * frames a second while 64 answers settle at once, each over a socket of its own, with the server on the
 * same cores. Needs Chromium and the built page (`npm run build`).
 */
import { type Page } from 'playwright-core'
import { noChromium, openBrowser } from '../test/support/chromium.js'
import { readFlags } from './command.js'
import { measureMachine } from './machine.js'
import { startServer } from './server.js'

const { model, answers } = readFlags('page', 'Measures the page in Chromium.', {
  model: { default: 'sudoku9', help: 'shipped model whose answers settle' },
  answers: { default: '64', help: 'answers at once' },
})
if (noChromium !== undefined) throw new Error(noChromium)
const { url, stop } = await startServer({ 'log-level': 'silent' })
const browser = await openBrowser()
const { commit, cores, cpu, load } = measureMachine()
console.log(`${cpu}, ${cores} cores, load ${load.toFixed(1)}, commit ${commit}`)

const open = async (hash: string): Promise<Page> => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  await page.goto(`${url}/${hash}`)
  return page
}

const first = await open('')
const fell = await first.evaluate<number>(`new Promise((resolve) => (function look() {
  const energy = parseFloat(document.querySelector('[data-testid=energy]')?.textContent)
  if (energy < 10) resolve(performance.now())
  else requestAnimationFrame(look)
})())`)
const painted = await first.evaluate<number>(
  `performance.getEntriesByName('first-contentful-paint')[0].startTime`,
)
console.log(
  `first paint after ${(painted / 1000).toFixed(2)} s, an energy below 10 after ${(fell / 1000).toFixed(1)} s`,
)
await first.close()

for (const pace of [16, 0]) {
  const page = await open(`#model=${model}&view=many&pace=${pace}`)
  await page.getByRole('slider', { name: 'answers' }).fill(answers)
  // Milliseconds between frames from the click until all have settled.
  await page.evaluate(`globalThis.gaps = []; (function tick(before) {
    requestAnimationFrame((now) => { globalThis.gaps.push(now - before); tick(now) })
  })(performance.now())`)
  await page.getByRole('button', { name: `Begin ${answers}` }).click()
  await page.locator(`[data-settled="${answers}"]`).waitFor({ timeout: 300_000 })
  const gaps = await page.evaluate<number[]>('globalThis.gaps')
  const sorted = gaps.toSorted((a, b) => a - b)
  const total = gaps.reduce((sum, gap) => sum + gap, 0)
  const slow = gaps.filter((gap) => gap > 1000 / 30).length
  console.log(
    `${answers} x ${model}, ${pace === 0 ? 'real time' : `${pace} steps a second`}: ` +
      `${((1000 * gaps.length) / total).toFixed(1)} frames a second over ${(total / 1000).toFixed(1)} s, ` +
      `99 % within ${sorted[Math.floor(0.99 * sorted.length)]?.toFixed(0) ?? ''} ms, ` +
      `${slow} of ${gaps.length} frames later than 33 ms`,
  )
  await page.close()
}
await browser.close()
stop()

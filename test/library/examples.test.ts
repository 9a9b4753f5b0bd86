/** The examples of examples/library, each as it stands, against a server with the shipped models. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noChromium, openBrowser } from '../support/chromium.js'
import { noClients, runBesideClients } from '../support/newest-clients.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const run = promisify(execFile)
const folder = fileURLToPath(new URL('../../examples/library', import.meta.url))
const built = fileURLToPath(new URL('../../dist', import.meta.url))
const example = async (program: string, name: string, ...args: string[]): Promise<string> =>
  (await run(program, [join(folder, name), ...args], { timeout: 60_000 })).stdout

describe.skipIf(!shipped)('in one process', () => {
  it('solves a puzzle', async () => {
    expect(await example('node', 'solve.mjs')).toMatch(/step 1, .*\n[^]*[1-6]{36} after \d+ steps/)
  })

  it('writes text, scores and embeds', async () => {
    const [text, happy, square, similar] = (await example('node', 'words.mjs')).split('\n')
    expect(text).toMatch(/^Once upon a time\S* \w+/)
    const energyIn = (line = '') => Number(/([\d.]+) per token/.exec(line)?.[1])
    expect(energyIn(happy)).toBeLessThan(energyIn(square))
    const [near = 0, far = 0] = [...(similar ?? '').matchAll(/\d\.\d+/g)].map(Number)
    expect(near).toBeGreaterThan(far)
  })

  it("trains on one's own text", async () => {
    const directory = mkdtempSync(join(tmpdir(), 'basin-example-'))
    const write = (name: string, text: string) => {
      const path = join(directory, name)
      writeFileSync(path, text)
      return path
    }
    const text = readFileSync(join(folder, '../../docs/glossary.md'), 'utf8')
    const half = text.indexOf('\n', text.length / 2)
    const files = [write('text.txt', text.slice(0, half)), write('held.txt', text.slice(half))]
    const lines = (await example('node', 'train.mjs', ...files, join(directory, 'run'))).split('\n')
    const nats = (pattern: RegExp) =>
      lines.flatMap((line) =>
        pattern.test(line) ? [Number(/ ([\d.]+) nats/.exec(line)?.[1])] : [],
      )
    const updates = nats(/^update/)
    expect(updates).toHaveLength(20)
    expect(updates.at(-1)).toBeLessThan(updates[0] ?? 0)
    expect(nats(/^held-out/)).toHaveLength(2)
    expect(lines.join('\n')).toMatch(/\nThe sea[^]*\S/)
  })

  it("serves models in one's own app", async () => {
    const env = { ...process.env, PORT: '0' }
    const server = spawn('node', [join(folder, 'own-server.mjs')], { env })
    try {
      const [said] = (await once(server.stdout, 'data')) as [Buffer]
      const [, address = ''] = /serving (\S+)\/v1/.exec(said.toString()) ?? []
      expect(await example('node', 'client.mjs', address)).toMatch(/^stories, sudoku6\n/)
    } finally {
      server.kill('SIGTERM')
      expect(await once(server, 'exit')).toEqual([0, null])
    }
  })
})

describe.skipIf(!shipped)('with a server', () => {
  let page: ReturnType<typeof createServer>
  let origin: string
  let server: Server
  beforeAll(async () => {
    page = createServer(({ url = '' }, reply) => {
      const file = url.startsWith('/client/') ? join(built, url) : join(folder, 'page.html')
      const type = file.endsWith('.js') ? 'text/javascript' : 'text/html'
      createReadStream(file).pipe(reply.setHeader('content-type', type))
    }).listen(0, '127.0.0.1')
    await once(page, 'listening')
    origin = `http://127.0.0.1:${(page.address() as AddressInfo).port}`
    const models = ['--model', 'stories', '--model', 'sudoku6']
    server = await Server.start(shippedModels, ...models, '--cors-origin', origin)
  })
  afterAll(async () => {
    page.close()
    await server.stop()
  })

  it('completes with curl', async () => {
    const replies = (await example('sh', 'completion.sh', server.url)).trim().split('\n')
    const [text, puzzle] = replies.map((line) => (JSON.parse(line) as Reply).choices[0]?.text)
    expect(text).toMatch(/\w+ \w+/)
    expect(puzzle).toMatch(/^[1-6]{36}$/)
  })

  it('streams through the typed client', async () => {
    const lines = (await example('node', 'client.mjs', server.url)).split('\n')
    expect(lines[0]).toBe('stories, sudoku6')
    expect(lines[1]).toMatch(/\w+ \w+/)
    expect(lines[2]).toMatch(/\w+ \w+/)
  })

  it('steers an answer over the socket', async () => {
    expect(await example('node', 'socket.mjs', server.url)).toMatch(/step 20, [^]*\n[1-6]{36}\n$/)
  })

  it.skipIf(noChromium !== undefined)('watches a puzzle in a page', async () => {
    const browser = await openBrowser()
    try {
      const tab = await browser.newPage()
      await tab.goto(`${origin}/?url=${server.url}`)
      await tab.locator('#energy', { hasText: 'settled' }).waitFor({ timeout: 30_000 })
      expect(await tab.locator('#board').textContent()).toMatch(/^([1-6]{6}\n){5}[1-6]{6}$/)
    } finally {
      await browser.close()
    }
  })

  for (const name of ['openai.mjs', 'ai-sdk.mjs', 'langchain.mjs'])
    it.skipIf(noClients !== undefined)(`writes text through ${name}`, async () => {
      expect(await runBesideClients(join(folder, name), server.url)).toMatch(/\w+ \w+/)
    })
})

interface Reply {
  choices: { text: string }[]
}

it('has a built client for the page', () => {
  expect(existsSync(join(built, 'client/index.js'))).toBe(true)
})

/** The page of a fleet's queues: a real server, a real Redis, and a real browser where there is one. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../support/free-port.js'
import { noChromium, openBrowser } from '../support/chromium.js'
import { startReplica } from '../support/fleet.js'
import { BasinProcess, type Server, writeModels } from '../support/process.js'
import { findRedis, RedisServer } from '../support/redis.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const binary = findRedis()
const missing = typeof binary === 'string' ? binary : undefined

const endless = {
  input: 'once upon a time',
  background: true,
  refinement: { max_steps: null, tolerance: 0 },
}

describe.skipIf(missing)(
  `the page of a fleet's queues${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    const models = writeModels()
    const file = join(mkdtempSync(join(tmpdir(), 'basin-board-keys-')), 'keys.json')
    const newKey = async (...args: string[]) =>
      (await new BasinProcess('keys', 'add', ...args, '--file', file).ended).stdout.trim()
    let redis: RedisServer
    let server: Server
    let admin: string
    let user: string

    const basic = (key: string) => ({
      authorization: `Basic ${Buffer.from(`anybody:${key}`).toString('base64')}`,
    })
    const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
      fetch(server.url + path, { headers, method, redirect: 'manual' })

    beforeAll(async () => {
      if (typeof binary === 'string') throw new Error(binary)
      redis = await RedisServer.start(binary, await freePort())
      admin = await newKey('operator', '--admin')
      user = await newKey('alice')
      server = await startReplica(models, redis.url, { keys: file, 'fleet-jobs': '1' })
      for (let i = 0; i < 3; i++) {
        const reply = await fetch(`${server.url}/v1/responses`, {
          method: 'POST',
          headers: { 'x-api-key': user, 'content-type': 'application/json' },
          body: JSON.stringify(endless),
        })
        expect(reply.status).toBe(200)
      }
    })
    afterAll(async () => {
      await server.stop()
      await redis.kill()
    })

    it('is shown to administrators only, and asks browsers for the key', async () => {
      const asked = await get('/admin/queues/')
      expect(asked.status).toBe(401)
      expect(asked.headers.get('www-authenticate')).toBe('Basic realm="Basin"')
      for (const path of ['/admin/queues/', '/admin/queues/api/queues']) {
        expect((await get(path, basic('basin_wrong'))).status).toBe(401)
        expect((await get(path, basic(user))).status).toBe(403)
        expect((await get(path, { 'x-api-key': user })).status).toBe(403)
        expect((await get(path, basic(admin))).status).toBe(200)
        expect((await get(path, { 'x-api-key': admin })).status).toBe(200)
      }
      expect((await get('/admin/queues', basic(admin))).headers.get('location')).toBe(
        '/admin/queues/',
      )
    })

    it('is the only route that takes a key as a password', async () => {
      for (const path of ['/v1/models', '/admin/models', '/metrics']) {
        const reply = await get(path, basic(admin))
        expect(reply.status).toBe(401)
        expect(reply.headers.get('www-authenticate')).toBe('Bearer')
      }
    })

    it('counts what runs and what waits, and has no prompts', async () => {
      const counts = async () => {
        const reply = await get('/admin/queues/api/queues', basic(admin))
        const text = await reply.text()
        expect(text).not.toContain('once upon')
        const { queues } = JSON.parse(text) as {
          queues: { displayName: string; counts: Record<string, number>; readOnlyMode: boolean }[]
        }
        expect(queues).toHaveLength(1)
        expect(queues[0]?.readOnlyMode).toBe(true)
        return queues[0]?.counts
      }
      await expect.poll(counts).toMatchObject({ active: 1, prioritized: 2 })
    })

    it('changes nothing', async () => {
      const [queue] = (
        (await (await get('/admin/queues/api/queues', basic(admin))).json()) as {
          queues: { name: string }[]
        }
      ).queues
      for (const action of ['pause', 'empty', 'obliterate']) {
        const path = `/admin/queues/api/queues/${queue?.name ?? ''}/${action}`
        expect((await get(path, { 'x-api-key': admin }, 'PUT')).status).toBe(404)
      }
    })

    it.skipIf(noChromium)('works in a browser and loads nothing from elsewhere', async () => {
      const browser = await openBrowser()
      const context = await browser.newContext({
        httpCredentials: { username: 'anybody', password: admin },
      })
      const page = await context.newPage()
      const complaints: string[] = []
      const requests: string[] = []
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text())
      })
      page.on('pageerror', ({ message }) => complaints.push(message))
      page.on('request', (request) => requests.push(request.url()))
      await page.goto(`${server.url}/admin/queues/`)
      await page.getByText('Prioritized').first().waitFor()
      expect(complaints).toEqual([])
      expect(requests.filter((url) => !url.startsWith(server.url))).toEqual([])
      await browser.close()
    })
  },
)

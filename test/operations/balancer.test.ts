/** The load balancer of compose-fleet.yaml, by its configuration, in front of real servers. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findProgram, type Program, run } from '../support/debian.js'
import { freePort } from '../support/free-port.js'
import { Server, writeModels } from '../support/process.js'
import { read } from './documents.js'
import { ended } from './prometheus.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 })

const packages = ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1']
const balancer = findProgram('haproxy', 'sbin/haproxy', packages, '-v')
const missing = typeof balancer === 'string' ? balancer : undefined
const configuration = read('docker/haproxy/haproxy.cfg')

describe.skipIf(missing)(`the load balancer${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'basin-balancer-'))
  const servers: Server[] = []
  let child: ChildProcess | undefined
  let url = ''

  const needed = (): Program => {
    if (typeof balancer === 'string') throw new Error(balancer)
    return balancer
  }
  const completion = { prompt: 'once upon a time', max_tokens: 4 }
  const post = (path: string, body: object) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  beforeAll(async () => {
    const models = writeModels()
    servers.push(
      await Server.start(models, '--drain-seconds', '10'),
      await Server.start(models, '--drain-seconds', '10'),
    )
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const addresses = servers.map(
      (server, i) => `  server basin${i + 1} ${new URL(server.url).host} check inter 200ms\n`,
    )
    const local = configuration
      .replace(/^ {2}server-template .*\n/m, addresses.join(''))
      .replace('bind :8000', `bind 127.0.0.1:${port}`)
    const file = join(folder, 'haproxy.cfg')
    writeFileSync(file, local)
    const { env, path } = needed()
    child = spawn(path, ['-f', file], { env, stdio: 'ignore' })
    const isReady = async () => {
      expect((await fetch(`${url}/ready`)).status).toBe(200)
    }
    await vi.waitFor(isReady, 20_000)
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    if (child) await ended(child)
  })

  it('accepts its configuration', () => {
    const { env, path } = needed()
    const file = join(folder, 'checked.cfg')
    writeFileSync(file, configuration)
    const { status, stderr } = run(path, ['-c', '-f', file], { env })
    expect(stderr).not.toMatch(/ALERT/)
    expect(status).toBe(0)
  })

  it('gives requests to all servers', async () => {
    const before = await Promise.all(servers.map((each) => each.metric('basin_completions_total')))
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => post('/v1/completions', completion)),
    )
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
    for (const [i, server] of servers.entries())
      expect(await server.metric('basin_completions_total')).toBeGreaterThan(before[i] ?? 0)
  })

  it('gives no new requests to a server that drains, which finishes what it has', async () => {
    const long = {
      ...completion,
      max_tokens: 1,
      refinement: { max_steps: null, max_seconds: 4, tolerance: 0 },
    }
    const running = [post('/v1/completions', long), post('/v1/completions', long)]
    const [leaving, staying] = servers
    await expect.poll(() => leaving?.metric('basin_slots_used')).toBe(1)
    await expect.poll(() => staying?.metric('basin_slots_used')).toBe(1)
    const gone = leaving?.stop()
    const statuses: number[] = []
    const look = async () => {
      const { status } = await post('/v1/completions', completion)
      statuses.push(status)
      return statuses.slice(-10)
    }
    // HAProxy takes three checks to notice; from then on nothing is refused.
    await expect.poll(look, { timeout: 20_000, interval: 100 }).toEqual(Array(10).fill(200))
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200])
    await gone
    expect((await post('/v1/completions', completion)).status).toBe(200)
  })
})

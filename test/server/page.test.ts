/** How the built page is handed out: to whom, under which policy, and how much of it there is. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import { Peer } from '../support/peer.js'
import { openServer, socketAddress, type TestServer } from '../support/server.js'

let server: TestServer
let key: string
beforeEach(async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'basin-page-')), 'keys.json')
  key = addKey(path, 'reader')
  server = await openServer({}, {}, ApiKeys.open(path))
})
afterEach(() => server.app.close())

const get = (url: string, headers: Record<string, string> = {}) =>
  server.app.inject({ method: 'GET', url, headers })

describe('the page', () => {
  it('is at the root, and all it loads needs no key and comes from here', async () => {
    const { body, headers, statusCode } = await get('/')
    expect(statusCode).toBe(200)
    expect(headers['content-type']).toMatch(/^text\/html/)
    const parts = [...body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '')
    expect(parts).toEqual(expect.arrayContaining(['page/page.js', 'page/style.css']))
    for (const path of parts.filter((each) => each !== 'docs'))
      expect((await get(`/${path}`)).statusCode).toBe(200)
  })

  it('lets in no script or style but its own, and stands in nobody’s frame', async () => {
    for (const url of ['/', '/page/page.js']) {
      const policy = String((await get(url)).headers['content-security-policy'])
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("script-src 'self'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('unsafe')
    }
    expect((await get('/')).body).not.toMatch(/<script>|<style|style=| on\w+=/)
  })

  it('is sent compressed, under 200 kB in all', async () => {
    const sizes = await Promise.all(
      ['/', '/page/page.js', '/page/style.css', '/page/icon.svg'].map(async (url) => {
        const { headers, rawPayload } = await get(url, { 'accept-encoding': 'gzip' })
        expect(headers['content-encoding']).toBe('gzip')
        return rawPayload.length
      }),
    )
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(200_000)
  })

  it('has no other files', async () => {
    for (const url of ['/page/../../package.json', '/page/page.js.gz', '/page/', '/index.html'])
      expect((await get(url, { 'x-api-key': key })).statusCode).toBe(404)
  })
})

describe('a browser’s socket', () => {
  it('brings its key as a subprotocol', async () => {
    const peer = await Peer.connect(await socketAddress(server.app), {}, [
      'basin',
      `basin-key.${key}`,
    ])
    expect(peer.socket.protocol).toBe('basin')
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1, refinement: { max_steps: 1 } })
    expect(await peer.finished()).toMatchObject({ finish_reason: 'length' })
    peer.socket.terminate()
  })

  it('is refused with another', async () => {
    const address = await socketAddress(server.app)
    await expect(Peer.connect(address, {}, ['basin', 'basin-key.guess'])).rejects.toThrow(/401/)
  })
})

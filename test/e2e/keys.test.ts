/** Keys of a running server, changed by `basin keys` beside it. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { BasinProcess, Server, writeModels } from '../support/process.js'

const keys = (...args: string[]) => new BasinProcess('keys', ...args).ended

it('keys are added, listed and revoked while the server runs', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'basin-live-keys-')), 'keys.json')
  const { stdout: first } = await keys('add', 'alice', '--file', file)
  const server = await Server.start(writeModels(), '--keys', file)
  const status = async (key: string): Promise<number> =>
    (await fetch(`${server.url}/v1/models`, { headers: { 'x-api-key': key.trim() } })).status
  expect(await status(first)).toBe(200)
  const { stdout: second } = await keys('add', 'bob', '--admin', '--file', file)
  await expect.poll(() => status(second), { timeout: 20_000 }).toBe(200)
  const { stdout } = await keys('list', '--file', file)
  expect(stdout).toMatch(/alice +no\nbob +yes/)
  expect((await keys('revoke', 'alice', '--file', file)).code).toBe(0)
  await expect.poll(() => status(first), { timeout: 20_000 }).toBe(401)
  expect(await status(second)).toBe(200)
  await server.stop()
})

it('where there are none, the list says so and how to make one', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'basin-no-keys-')), 'keys.json')
  const none = `there are no keys in ${file}; basin keys add NAME --file ${file} makes one\n`
  expect(await keys('list', '--file', file)).toMatchObject({
    code: 1,
    stderr: `basin: ${file}: there is no such file; basin keys add NAME --file ${file} makes it, with a key\n`,
  })
  await keys('add', 'alice', '--file', file)
  await keys('revoke', 'alice', '--file', file)
  expect((await keys('list', '--file', file)).stdout).toBe(none)
})

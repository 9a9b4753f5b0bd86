/** What a client gets that reads a stored response of which an event is damaged. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterEach, expect, it } from 'vitest'
import { LmdbStore } from '../../src/jobs/lmdb-store.js'
import type { App } from '../../src/server/context.js'
import { recordOf } from '../jobs/records.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, type ErrorBody } from '../support/server.js'

const EVENTS = 600
let app: App
afterEach(() => app.close())

/** Serves the ended responses `whole` and `torn`, of which the event with this number is damaged. */
async function serve(damaged: number): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'basin-damaged-'))
  const store = LmdbStore.open(path, 1e9)
  const event = (_: unknown, n: number) => JSON.stringify({ type: 'step', sequence_number: n })
  for (const id of ['whole', 'torn']) {
    const record = { ...recordOf(id), owner: '', expires: Date.now() + 1e6 }
    await store.write(id, { record, from: 0, events: Array.from({ length: EVENTS }, event) })
  }
  await store.close()
  const root = open({ path, noSubdir: false, maxDbs: 5 })
  await root.openDB({ name: 'events', encoding: 'string' }).put(['torn', damaged], 'x'.repeat(40))
  await root.close()
  app = await appOf(new ScriptedGeneration(), { store: LmdbStore.open(path, 1e9) })
}

const read = (id: string, after = -1) => {
  const query = after < 0 ? '' : `&starting_after=${after}`
  return app.inject({ method: 'GET', url: `/v1/responses/${id}?stream=true${query}` })
}

it('the status 410 where it is among the first events', async () => {
  await serve(3)
  const reply = await read('torn')
  expect(reply.statusCode).toBe(410)
  expect(reply.json<ErrorBody>().error.code).toBe('damaged')
  expect((await read('whole')).body.match(/event: step/g)).toHaveLength(EVENTS)
})

it('all events before it, and one that says so in place of the rest', async () => {
  await serve(400)
  const reply = await read('torn', 9)
  expect(reply.statusCode).toBe(200)
  const events = reply.body.split('\n\n').filter((part) => part.startsWith('event: '))
  const last = events.pop() ?? ''
  expect(events.length).toBeGreaterThan(200)
  expect(events.every((each) => each.startsWith('event: step\n'))).toBe(true)
  expect(last).toMatch(/^event: error\n/)
  expect(JSON.parse(last.slice(last.indexOf('{')))).toMatchObject({
    type: 'error',
    code: 'damaged',
    param: null,
    sequence_number: 10 + events.length,
  })
  const figures = await app.inject({ method: 'GET', url: '/metrics' })
  expect(figures.body).toContain('{route="/v1/responses/:id",code="damaged"} 1')
  expect((await read('whole')).body.match(/event: step/g)).toHaveLength(EVENTS)
})

/** Files of models for engines of clients: whose, to whom, and only where the operator says so. */
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { browserFiles } from '../../src/cli/model-files.js'
import { addKey, ApiKeys } from '../../src/server/api-keys.js'
import type { App } from '../../src/server/context.js'
import { writeModels } from '../support/process.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf } from '../support/server.js'

const directory = join(writeModels(), 'letters')
const files = browserFiles(directory) ?? []
const open: App[] = []
afterEach(() => Promise.all(open.splice(0).map((app) => app.close())))

async function serve(options: Parameters<typeof appOf>[1] = {}) {
  const engine = new ScriptedGeneration()
  const { name } = engine.model
  const app = await appOf(engine, {
    modelFiles: new Map([[name, { directory, files }]]),
    ...options,
  })
  open.push(app)
  const get = (file: string, headers = {}) =>
    app.inject({ method: 'GET', url: `/v1/models/${name}/files/${file}`, headers })
  return { app, name, get }
}

describe('the files of a model', () => {
  it('are sent whole, and not again to a client that has them', async () => {
    const { app, get } = await serve()
    expect(files).toEqual(['config.json', 'tokenizer.json', 'model.safetensors'])
    for (const file of files) {
      const reply = await get(file)
      expect(reply.statusCode).toBe(200)
      expect(reply.rawPayload).toEqual(readFileSync(join(directory, file)))
      expect(reply.headers['content-length']).toBe(String(reply.rawPayload.length))
      const again = await get(file, { 'if-none-match': reply.headers.etag })
      expect([again.statusCode, again.body]).toEqual([304, ''])
    }
    const { data } = (await app.inject('/v1/models')).json<{ data: { files: boolean }[] }>()
    expect(data.map((model) => model.files)).toEqual([true])
  })

  it('are these alone, of models that are served', async () => {
    const { app, get } = await serve()
    for (const file of ['README.md', '..%2fconfig.json', '%2e%2e%2f%2e%2e%2fpackage.json', 'x'])
      expect((await get(file)).statusCode).toBe(404)
    const other = await app.inject('/v1/models/other/files/config.json')
    expect(other.json()).toMatchObject({ error: { code: 'not_found' } })
  })

  it('need a key where the server has keys', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'basin-keys-')), 'keys.json')
    const key = addKey(path, 'reader')
    const { get } = await serve({ keys: ApiKeys.open(path) })
    expect((await get('config.json')).statusCode).toBe(401)
    expect((await get('config.json', { 'x-api-key': key })).statusCode).toBe(200)
  })

  it('are not handed out without the setting', async () => {
    const { app, get } = await serve({ modelFiles: new Map() })
    expect((await get('config.json')).statusCode).toBe(404)
    const { data } = (await app.inject('/v1/models')).json<{ data: { files: boolean }[] }>()
    expect(data.map((model) => model.files)).toEqual([false])
  })
})

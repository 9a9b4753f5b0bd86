/** The models of a folder: what is skipped and why, and by which names models are found. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkNames, modelNamed, scanModels } from '../../src/library/model-folder.js'
import { BasinProcess, Server, writeModel } from '../support/process.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'basin-folder-'))
  writeModel(root, 'one')
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

const writeBroken = (): void => {
  mkdirSync(join(root, 'empty'))
  writeFileSync(join(root, 'empty', 'config.json'), '{}')
  writeModel(root, 'wrong')
  writeFileSync(join(root, 'wrong', 'config.json'), '{"format": 5}')
  mkdirSync(join(root, 'notes'))
}

describe('a folder of models', () => {
  it('skips directories without weights or with a wrong configuration, and says why', () => {
    writeBroken()
    const { found, skipped } = scanModels(root)
    expect(found.map(({ model }) => model.name)).toEqual(['one'])
    expect(skipped).toMatchObject([
      { directory: join(root, 'empty'), reason: 'it has no model.safetensors' },
      { directory: join(root, 'wrong') },
    ])
    expect(skipped[1]?.reason).toContain('config.json')
    expect(scanModels(join(root, 'nowhere'))).toEqual({ found: [], skipped: [] })
  })

  it('may be one model directory', () => {
    const { found, skipped } = scanModels(join(root, 'one'))
    expect(found.map(({ model }) => model.name)).toEqual(['one'])
    expect(skipped).toEqual([])
  })

  it('names both directories of a name that two models have', () => {
    mkdirSync(join(root, 'hidden'))
    writeModel(join(root, 'hidden'), 'one')
    renameSync(join(root, 'hidden', 'one'), join(root, 'copy'))
    const { found } = scanModels(root)
    expect(() => {
      checkNames(found, root)
    }).toThrow(/copy and one have the same name in their config.json, one/)
  })

  it('finds a model by the name of its directory, or by its own', () => {
    renameSync(join(root, 'one'), join(root, 'first'))
    const folder = scanModels(root)
    expect(modelNamed('first', folder, root)).toBe(folder.found[0])
    expect(modelNamed('one', folder, root)).toBe(folder.found[0])
    expect(() => modelNamed('two', folder, root)).toThrow('there is no model two; there are first')
  })
})

it('a server serves the others of a folder, and generate finds what it serves', async () => {
  writeBroken()
  const server = await Server.start(root)
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: object[] }
  expect(data).toMatchObject([{ id: 'one' }])
  await server.stop()
  const lines = server.stderr.split('\n').filter((line) => line.includes('a directory is skipped'))
  expect(lines).toHaveLength(2)
  const flags = ['--models', root, '--model', 'one', '--max-tokens', '4', '--temperature', '0']
  const { code, stdout } = await new BasinProcess('generate', 'once', ...flags).ended
  expect([code, stdout.trimEnd().length]).toEqual([0, 4])
  const absent = await new BasinProcess('generate', 'once', '--models', root, '--model', 'wrong')
    .ended
  expect(absent.stderr).toContain('wrong: ')
})

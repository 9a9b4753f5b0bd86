/** `basin pull` against a local server that behaves like a hub. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hubSource } from '../../src/library/hub/hub-repository.js'
import { weightsFile } from '../../src/model/checkpoint.js'
import { COMMIT, Hub } from '../support/hub.js'
import { BasinProcess, type Ended, writeModels } from '../support/process.js'

const letters = join(writeModels(), 'letters')
const files = new Map(readdirSync(letters).map((name) => [name, readFileSync(join(letters, name))]))
const weights = files.get(weightsFile) ?? Buffer.alloc(0)

const golden = new URL('../golden/default/model.ckpt', import.meta.url)
const goldenBytes = readFileSync(golden)

let hub: Hub
let models: string
beforeEach(async () => {
  hub = await Hub.start(new Map([...files, ['notes.txt', Buffer.from('unasked')]]))
  models = mkdtempSync(join(tmpdir(), 'basin-pulled-'))
})
afterEach(() => hub.stop())

const pull = (...flags: string[]): Promise<Ended> =>
  new BasinProcess('pull', ...flags, '--models', models).ended
const pullModel = (...flags: string[]) => pull('org/name', '--mirror', hub.url, ...flags)

function expectModel(name = 'name'): void {
  for (const [file, bytes] of files)
    expect(readFileSync(join(models, name, file)).equals(bytes)).toBe(true)
  expect(readdirSync(join(models, name)).sort()).toEqual([...files.keys()].sort())
  expect(readdirSync(models)).toEqual([name])
}

describe('basin pull', () => {
  it('downloads what a model needs, of one commit, through redirects', async () => {
    const { code, stderr, stdout } = await pullModel()
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining(`${weightsFile}: ${weights.length} bytes, checked`),
    ])
    expect(stdout).toContain('letters')
    expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f]/)
    expectModel()
    expect(hub.requests).toContain(`/org/name/resolve/${COMMIT}/${weightsFile}`)
    expect(hub.requests.join()).not.toContain('notes.txt')
    const again = await pullModel()
    expect(again).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('it exists already') as string,
    })
  })

  it('goes on after a connection that breaks, and from what an earlier run left', async () => {
    hub.breaks.set(weightsFile, 5000)
    const left = join(models, '.pull', 'mine')
    mkdirSync(left, { recursive: true })
    writeFileSync(join(left, `${weightsFile}.part`), weights.subarray(0, 1000))
    const { code, stderr } = await pull(`${hub.url}/org/name`, '--name', 'mine')
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expectModel('mine')
    const ranges = hub.requests.filter((path) => path.startsWith(`/cdn/${weightsFile}`))
    expect(ranges).toEqual([
      `/cdn/${weightsFile} bytes=1000-`,
      expect.stringMatching(/ bytes=[1-9]\d{3,}-$/) as string,
    ])
  })

  it('refuses a file that is not what its checksum says, and leaves no model', async () => {
    const damaged = Buffer.from(weights)
    damaged.writeUInt8(damaged.readUInt8(3000) ^ 1, 3000)
    hub.damaged.set(weightsFile, damaged)
    const wrong = await pullModel()
    expect(wrong).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/its checksum is \w{64} and should be/) as string,
    })
    expect(existsSync(join(models, 'name'))).toBe(false)
    expect(existsSync(join(models, '.pull', 'name', `${weightsFile}.part`))).toBe(false)
    hub.damaged.set(
      'config.json',
      Buffer.from((files.get('config.json') ?? '').toString().replace('letters', 'lettres')),
    )
    hub.damaged.delete(weightsFile)
    expect((await pullModel('--name', 'other')).stderr).toMatch(
      /config\.json: its checksum is \w{40} /,
    )
    hub.damaged.clear()
    expect((await pullModel()).code).toBe(0)
  })

  it('refuses a file that is longer than it should be', async () => {
    hub.damaged.set(weightsFile, Buffer.concat([weights, Buffer.alloc(10)]))
    expect((await pullModel()).stderr).toContain(`it is longer than ${weights.length} bytes`)
  })

  it.each(['../../evil.json', '/etc/passwd', 'a/../../b', '..', 'a\\..\\b', 'C:evil', 'a\u0000b'])(
    'refuses a list with a file named %j',
    async (name) => {
      hub.listed.push(name)
      const { code, stderr } = await pullModel()
      expect([code, stderr]).toEqual([1, expect.stringContaining('which is no plain path')])
      expect(hub.requests.filter((path) => path.includes('/resolve/'))).toEqual([])
      expect(readdirSync(models)).toEqual([])
    },
  )

  it('reads a mirror that has only SHA256SUMS', async () => {
    hub.api = false
    const { code, stderr } = await pullModel()
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expectModel()
    hub.listed.push('../evil')
    expect((await pullModel('--name', 'more')).stderr).toContain('which is no plain path')
  })

  it('sends a token, and says that one is missing or that nothing is there', async () => {
    hub.token = 'secret'
    expect((await pullModel()).stderr).toContain('the server replied 401; it may need --token')
    expect((await pullModel('--token', 'secret')).code).toBe(0)
    expect(
      (await pullModel('--token', 'secret', '--name', 'x', '--revision', 'none')).stderr,
    ).toContain('there is no org/name at revision none')
  })

  it('imports a published checkpoint', async () => {
    await hub.stop()
    const own = { format: 'basin-tokenizer/1', kind: 'characters', alphabet: ['a', 'b'] }
    const tokenizer = Buffer.from(JSON.stringify({ ...own, special: {} }))
    hub = await Hub.start(
      new Map([
        ['model.ckpt', goldenBytes],
        ['tokenizer.json', tokenizer],
      ]),
    )
    const { code, stderr, stdout } = await pullModel()
    expect([code, stderr]).toEqual([0, expect.any(String)])
    expect(stdout).toMatch(/parameters/)
    expect(existsSync(join(models, 'name', weightsFile))).toBe(true)
    expect(readdirSync(models)).toEqual(['name'])
  })
})

describe('the place of a repository', () => {
  it.each([
    ['org/name', 'https://hub', undefined, 'https://hub', 'org/name', 'main'],
    [
      'https://host/prefix/org/name',
      'https://hub',
      undefined,
      'https://host/prefix',
      'org/name',
      'main',
    ],
    ['https://host/org/name/tree/v1', 'https://hub', undefined, 'https://host', 'org/name', 'v1'],
    ['org/name', 'https://hub/', 'v2', 'https://hub', 'org/name', 'v2'],
  ])('of %s', (text, mirror, revision, endpoint, repository, wanted) => {
    expect(hubSource(text, mirror, revision)).toEqual({ endpoint, repository, revision: wanted })
  })

  it.each(['name', '../name', 'org/..', 'org/name/more', 'file:///etc/passwd', ''])(
    'is not %j',
    (text) => {
      expect(() => hubSource(text, 'https://hub', undefined)).toThrow(/it must be ORG\/NAME/)
    },
  )
})

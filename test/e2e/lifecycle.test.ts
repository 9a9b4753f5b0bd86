/** How the process starts and ends: models that cannot be opened, signals, and other commands. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { weightsFile } from '../../src/model/checkpoint.js'
import { Peer } from '../support/peer.js'
import { BasinProcess, Server, writeModel, writeModels } from '../support/process.js'

const refinement = { max_steps: null, tolerance: 0, min_steps: 100_000 }
const endless = { prompt: 'once', max_tokens: 2, temperature: 0, refinement }

describe('SIGTERM', () => {
  it('lets running answers finish, refuses new requests, and exits with 0', async () => {
    const server = await Server.start(writeModels(), '--slots', '4')
    const peer = await Peer.connect(server.socket)
    peer.say({ type: 'start', ...endless })
    await peer.next('step')
    const bounded = { ...endless, refinement: { ...endless.refinement, max_seconds: 3 } }
    const running = server.complete(bounded)
    await expect.poll(() => server.metric('basin_slots_used')).toBe(2)
    server.signal('SIGTERM')
    const ready = async () => (await fetch(`${server.url}/ready`)).status
    await expect.poll(ready).toBe(503)
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
    const refused = await server.post('/v1/completions', endless)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(await refused.json()).toMatchObject({ error: { code: 'shutting_down' } })
    expect((await running).refinement).toMatchObject({ stop_reason: 'max_seconds' })
    peer.say({ type: 'finish' })
    expect(await peer.finished()).toMatchObject({ refinement: { stop_reason: 'finished' } })
    expect(await peer.closed).toBe(1001)
    expect(await server.ended).toMatchObject({ code: 0 })
  })

  it('ends running answers with shutting_down at the deadline', async () => {
    const server = await Server.start(writeModels(), '--drain-seconds', '0')
    const peer = await Peer.connect(server.socket)
    peer.say({ type: 'start', ...endless })
    await peer.next('step')
    server.signal('SIGTERM')
    await expect(peer.next('finished')).rejects.toThrow('shutting_down')
    expect(await server.ended).toMatchObject({ code: 0 })
  })

  it('ends an idle server at once', async () => {
    const server = await Server.start(writeModels())
    expect(await server.stop()).toMatchObject({ code: 0 })
  })
})

/** Runs a command that must fail, and returns its one line of error. */
async function failure(...args: string[]): Promise<string> {
  const { code, stderr } = await new BasinProcess(...args).ended
  expect(code).toBe(1)
  const lines = stderr.trimEnd().split('\n')
  expect(lines).toHaveLength(1)
  return lines[0] ?? ''
}

describe('a model that cannot be opened', () => {
  const damages: [string, (directory: string) => void, RegExp][] = [
    [
      'with truncated weights',
      (directory) => {
        truncateSync(join(directory, weightsFile), 1000)
      },
      /model\.safetensors/,
    ],
    [
      'with corrupt weights',
      (directory) => {
        const path = join(directory, weightsFile)
        const bytes = readFileSync(path)
        bytes.fill(0xff, 0, 64)
        writeFileSync(path, bytes)
      },
      /model\.safetensors/,
    ],
    [
      'without a tokenizer',
      (directory) => {
        rmSync(join(directory, 'tokenizer.json'))
      },
      /tokenizer\.json/,
    ],
  ]

  it.each(damages)('%s ends the process with one line of error', async (_, damage, named) => {
    const models = writeModels()
    damage(writeModel(models, 'unsound'))
    const line = await failure('serve', '--port', '0', '--models', models)
    expect(line).toMatch(/^basin: /)
    expect(line).toContain('unsound')
    expect(line).toMatch(named)
  })

  const unusable: typeof damages = [
    [
      'without weights',
      (directory) => {
        rmSync(join(directory, weightsFile))
      },
      /model\.safetensors/,
    ],
    [
      'with a broken configuration',
      (directory) => {
        writeFileSync(join(directory, 'config.json'), '{"format":')
      },
      /config\.json/,
    ],
  ]

  it.each(unusable)(
    '%s is skipped with one line, and others are served',
    async (_, damage, named) => {
      const models = writeModels()
      damage(writeModel(models, 'unsound'))
      const server = await Server.start(models)
      expect((await server.complete({ prompt: 'a', max_tokens: 2 })).model).toBe('letters')
      const { code, stderr, stdout } = await server.stop()
      expect(code).toBe(0)
      const lines = (stdout + stderr)
        .split('\n')
        .filter((line) => line.includes('a directory is skipped'))
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain('unsound')
      expect(lines[0]).toMatch(named)
    },
  )

  it('because it does not exist ends the process with one line of error', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'basin-none-'))
    expect(await failure('serve', '--models', empty)).toContain(empty)
    expect(await failure('serve', '--models', writeModels(), '--model', 'oracle')).toContain(
      'oracle',
    )
  })
})

describe('a port', () => {
  it('that is in use ends the process with one line of error', async () => {
    const models = writeModels()
    const server = await Server.start(models)
    const { port } = new URL(server.url)
    expect(await failure('serve', '--port', port, '--models', models)).toContain('EADDRINUSE')
    await server.stop()
  })

  it.each(['-1', '70000', 'eighty'])('%s is refused with one line of error', async (port) => {
    expect(await failure('serve', '--port', port)).toContain('from 0 to 65535')
  })
})

describe('the command line', () => {
  it.each([['serve'], ['generate'], ['train'], ['tokenizer', 'train']])(
    '%s --help prints its usage',
    async (...verb) => {
      const { code, stdout } = await new BasinProcess(...verb, '--help').ended
      expect(code).toBe(0)
      expect(stdout).toMatch(/^Usage: basin /)
    },
  )

  it('generates a text, and prints a summary of the descent', async () => {
    const model = writeModel(mkdtempSync(join(tmpdir(), 'basin-generate-')), 'letters')
    const asked = ['once upon', '--model', model, '--max-tokens', '6', '--temperature', '0']
    const { code, stderr, stdout } = await new BasinProcess('generate', ...asked).ended
    expect(code).toBe(0)
    expect(stdout).toMatch(/^[a-z ]{6}\n$/)
    expect(stderr).toMatch(/^[▁-█]+ energy \S+ → \S+ .*12 steps, 6 tokens, .* max_steps\n$/)
  })

  it('refuses a prompt with one line of error', async () => {
    const model = writeModel(mkdtempSync(join(tmpdir(), 'basin-generate-')), 'letters')
    expect(await failure('generate', 'Ü', '--model', model)).toContain('prompt')
  })
})

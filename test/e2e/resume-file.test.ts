/** `basin generate` of the built program: an answer that is saved with Ctrl-C, and gone on with from the file. */
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { BasinProcess, Server, writeModel, writeModels } from '../support/process.js'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const models = writeModels()
const folder = mkdtempSync(join(tmpdir(), 'basin-saved-'))
const local = ['--models', models, '--engine', 'native', '--threads', '1']
const asked = [
  '--model',
  'letters',
  '--seed',
  '11',
  '--temperature',
  '1',
  '--max-tokens',
  '12',
  '--steps',
  '9000',
]

const generate = (...args: string[]) => new BasinProcess('generate', ...args)

const stepsIn = (stderr: string) => Number(/, (\d+) steps, /.exec(stderr)?.[1])

const saved = join(folder, 'answer')
let whole: { stdout: string; stderr: string }
let parts: string[]
beforeAll(async () => {
  whole = await generate('once upon a time', ...local, ...asked).ended
  const first = generate('once upon a time', ...local, ...asked, '--save', saved)
  await first.says(/./)
  first.signal('SIGINT')
  const { code, stderr, stdout } = await first.ended
  expect(code).toBe(0)
  expect(stderr).toContain(`basin generate --resume ${saved}`)
  parts = [stdout]
})

describe('an answer that was saved', () => {
  it('is in a file that only its user can read', () => {
    expect(statSync(saved).mode & 0o077).toBe(0)
    expect(parts[0]?.trim().length).toBeLessThan(12)
  })

  it('goes on to the text and the steps of an answer that was not interrupted', async () => {
    const { code, stderr, stdout } = await generate(...local, '--resume', saved).ended
    expect(code).toBe(0)
    expect(stdout).toBe(whole.stdout)
    expect(whole.stdout.trimEnd()).toHaveLength(12)
    expect(stepsIn(stderr)).toBe(stepsIn(whole.stderr))
  })

  it('is refused beside what it has', async () => {
    for (const [flag, name] of [
      [['--seed', '4'], '--seed'],
      [['--max-tokens', '4'], '--max-tokens'],
      [['twice'], 'the prompt'],
    ] as const) {
      const { code, stderr } = await generate(...flag, ...local, '--resume', saved).ended
      expect(code).toBe(1)
      expect(stderr).toContain(`${name}: the file of --resume has it`)
    }
  })

  it('is refused by other weights, and where the file is none', async () => {
    const others = mkdtempSync(join(tmpdir(), 'basin-models-'))
    writeModel(others, 'letters', 2)
    const flags = ['--models', others, '--engine', 'native', '--resume']
    const { stderr } = await generate(...flags, saved).ended
    expect(stderr).toContain('other weights')
    const broken = join(folder, 'broken')
    writeFileSync(broken, readFileSync(saved, 'utf8').slice(20))
    expect((await generate(...flags, broken).ended).stderr).toContain('cannot be restored')
  })
})

describe('a state of a server', () => {
  let server: Server
  beforeAll(async () => {
    server = await Server.start(models, '--engine', 'native')
  })
  afterAll(() => server.stop())

  it('goes on here', async () => {
    const refinement = { max_steps: 20_000 }
    const body = { input: 'once', background: true, max_output_tokens: 4, seed: 3, refinement }
    const made = await server.post('/v1/responses', { ...body, model: 'letters' })
    const { id } = (await made.json()) as { id: string }
    const state = join(folder, 'state')
    const kept = await vi.waitFor(
      async () => {
        const reply = await fetch(`${server.url}/v1/responses/${id}/state`)
        if (!reply.ok) throw new Error(await reply.text())
        return reply.text()
      },
      { timeout: 20_000 },
    )
    writeFileSync(state, kept)
    const { stdout } = await generate(...local, '--resume', state).ended
    const text = async () => {
      const reply = await fetch(`${server.url}/v1/responses/${id}`)
      return (await reply.json()) as {
        status: string
        output: { content: { text: string }[] }[]
      }
    }
    await expect.poll(async () => (await text()).status, { timeout: 60_000 }).toBe('incomplete')
    expect(stdout.trimEnd()).toBe((await text()).output[0]?.content[0]?.text)
  })

  it('that was saved here is refused there, since nobody has signed it', async () => {
    const reply = await server.post('/v1/responses', {
      resume_from: readFileSync(saved, 'utf8'),
    })
    expect(reply.status).toBe(400)
    expect(await reply.text()).toContain('another server has signed it')
  })
})

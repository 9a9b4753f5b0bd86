/** Runs `basin config`, and `basin serve` with a settings file, as processes. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { registerConfig, SecretOption } from '../../src/cli/commands/config-command.js'
import { registerServe } from '../../src/cli/commands/serve-command.js'
import { Server, writeModels } from '../support/process.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'basin-config-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true })
})

/** Without settings that the machine of this test may have. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('BASIN_')),
)
const run = (args: readonly string[], variables: Record<string, string> = {}) =>
  spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env: { ...environment, ...variables },
  })

const file = (content: unknown): string => {
  const path = join(directory, 'basin.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

interface Setting {
  name: string
  value: unknown
  source: string
}
const settings = (args: readonly string[], variables?: Record<string, string>) => {
  const { stdout } = run(['config', '--json', ...args], variables)
  const found = JSON.parse(stdout) as Setting[]
  return (name: string) => found.find((setting) => setting.name === name)
}

describe('basin config', () => {
  it('prints the source of each setting: flag, variable, file or default', () => {
    const path = file({ port: 1, slots: 2, 'max-queue': 3, model: ['a', 'b'] })
    const of = settings(['--port', '9', '--config', path], {
      BASIN_PORT: '8',
      BASIN_SLOTS: '7',
    })
    expect(of('port')).toEqual({ name: 'port', value: 9, source: '--port' })
    expect(of('slots')).toEqual({ name: 'slots', value: 7, source: 'BASIN_SLOTS' })
    expect(of('max-queue')).toEqual({ name: 'max-queue', value: 3, source: path })
    expect(of('model')).toEqual({ name: 'model', value: ['a', 'b'], source: path })
    expect(of('host')).toEqual({ name: 'host', value: '127.0.0.1', source: 'default' })
    expect(of('pages')).toEqual({ name: 'pages', value: null, source: 'default' })
  })

  it('takes the path of the file from its variable, and prints a table', () => {
    const path = file({ 'log-level': 'warn' })
    const { status, stdout } = run(['config'], { BASIN_CONFIG: path })
    expect(status).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual(
      expect.arrayContaining([
        ['log-level', 'warn', path],
        ['config', path, 'BASIN_CONFIG'],
        ['pages', '-', 'default'],
      ]),
    )
  })

  it.each([
    [{ 'max-que': 3 }, 'there is no setting max-que'],
    [{ config: 'other.json' }, 'there is no setting config'],
    [{ 'max-queue': -1 }, 'max-queue: It must be an integer from 0 to 1000000.'],
    [{ 'max-queue': 1.5 }, 'max-queue: It must be an integer'],
    [{ 'max-queue': null }, 'max-queue: It must be a text or a number'],
    [{ 'log-level': 'loud' }, 'log-level: Allowed choices are silent,'],
    [[1], 'it is not an object of settings'],
    ['{"port"', 'JSON'],
  ])('refuses the file %j', async (content, reason) => {
    const path = file(content)
    const program = new Command()
    registerServe(program)
    registerConfig(program)
    const refused = program.parseAsync(['config', '--config', path], { from: 'user' })
    await expect(refused).rejects.toMatchObject({
      code: 'invalid_data',
      message: expect.stringContaining(reason) as string,
      facts: { path },
    })
  })

  it('refuses a file that does not exist, in one line', () => {
    const { status, stderr } = run(['serve', '--config', join(directory, 'absent.json')])
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^basin: .+ENOENT.+\n$/)])
  })

  it('prints no secret', async () => {
    const program = new Command()
    program.command('serve').addOption(new SecretOption('--store <url>'))
    registerConfig(program)
    const printed = vi.spyOn(console, 'log').mockReturnValue()
    await program.parseAsync(['config', '--store', 'redis://:hunter2@host'], { from: 'user' })
    const text = printed.mock.calls.join()
    printed.mockRestore()
    expect(text).toMatch(/store +\(hidden\) +--store/)
    expect(text).not.toContain('hunter2')
  })
})

describe('basin serve', () => {
  it('runs with the settings of the file', async () => {
    const models = writeModels()
    const server = await Server.start(models, '--config', file({ slots: 3, 'log-level': 'silent' }))
    expect(await server.metric('basin_slots')).toBe(3)
    expect(await server.stop()).toMatchObject({ code: 0, stderr: '' })
    rmSync(models, { recursive: true })
  })
})

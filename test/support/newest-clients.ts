/**
 * The newest majors of clients that people use, installed from npm's registry into a folder outside the
 * project, by name and version, so that runs after the first one find them there. The project itself does not
 * depend on them.
 */
import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Majors; npm takes the newest version of each. */
const packages = {
  openai: '7',
  ai: '7',
  '@ai-sdk/openai': '4',
  '@ai-sdk/openai-compatible': '3',
  '@langchain/openai': '1',
  '@langchain/core': '1',
}

const specifiers = Object.entries(packages).map(([name, major]) => `${name}@${major}`)
const folder = join(tmpdir(), `basin-clients-${specifiers.join('+').replaceAll('/', '.')}`)

/** Why they cannot be installed; undefined where they are. */
function install(): string | undefined {
  if (existsSync(join(folder, 'node_modules'))) return undefined
  const fresh = `${folder}-${process.pid}`
  mkdirSync(fresh, { recursive: true })
  writeFileSync(join(fresh, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--fetch-retries', '1']
  try {
    execFileSync('npm', ['install', ...flags, ...specifiers], {
      cwd: fresh,
      stdio: 'pipe',
      timeout: 120_000,
    })
    // Whoever installs at the same time puts the same there.
    if (existsSync(folder)) rmSync(fresh, { recursive: true })
    else renameSync(fresh, folder)
    return undefined
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    const { code, stderr } = error as { code?: string; stderr?: Buffer }
    return `npm could not install them: ${(stderr?.toString() ?? code ?? '').split('\n')[0] ?? ''}`
  }
}

export const noClients = install()
if (noClients !== undefined) console.warn(`the newest clients are not tested: ${noClients}`)

/**
 * Runs a script of test/server/clients where the packages are found, with the address of a server, and
 * returns what it printed as JSON. Throws what it wrote to standard error.
 */
export async function runClient<T>(script: string, address: string): Promise<T> {
  const source = fileURLToPath(new URL(`../server/clients/${script}`, import.meta.url))
  return JSON.parse(await runBesideClients(source, address)) as T
}

/** Runs a script where the packages are found, with the address of a server, and returns what it printed. */
export async function runBesideClients(source: string, address: string): Promise<string> {
  const copy = join(folder, `${process.pid}-${basename(source)}`)
  copyFileSync(source, copy)
  try {
    const { stdout } = await run(process.execPath, [copy, address], { timeout: 60_000 })
    return stdout
  } finally {
    rmSync(copy)
  }
}

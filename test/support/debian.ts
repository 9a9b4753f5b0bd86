/**
 * Unpacks Debian packages below build/, for tests that need their programs. Unpacking needs no root and
 * starts no service; only a first `apt-get update` may need root.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const build = fileURLToPath(new URL('../../build/', import.meta.url))

export const run = (command: string, args: readonly string[], options: object = {}) =>
  spawnSync(command, args, { encoding: 'utf8', timeout: 120_000, ...options })

/** The folder below which the unpacked files of `name` are. */
export const folderOf = (name: string): string => build + name

/** In a folder of its own until it is complete: several files may unpack the same packages at once. */
function unpack(name: string, packages: readonly string[]): boolean {
  const place = folderOf(name)
  const cwd = `${place}-${process.pid}`
  mkdirSync(cwd, { recursive: true })
  try {
    if (run('apt-get', ['download', ...packages], { cwd }).status !== 0) return false
    const archives = readdirSync(cwd).filter((file) => file.endsWith('.deb'))
    if (!archives.every((file) => run('dpkg-deb', ['-x', file, '.'], { cwd }).status === 0))
      return false
    try {
      renameSync(cwd, place)
    } catch (error) {
      // Whoever was first has put the same there.
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error
    }
    return true
  } finally {
    rmSync(cwd, { recursive: true, force: true })
  }
}

/** Unpacks packages into the folder of `name`. Returns the reason if that is not possible. */
export function fetchPackages(name: string, packages: readonly string[]): string | undefined {
  if (!existsSync('/etc/debian_version')) return `${name} is not installed, and this is not Debian`
  if (unpack(name, packages)) return undefined
  if (process.getuid?.() !== 0) {
    return `apt-get has no ${name} to download, and only root updates it`
  }
  run('apt-get', ['update'])
  return unpack(name, packages) ? undefined : `apt-get has no ${name} to download`
}

/** A program, and the environment in which it finds its libraries. */
export interface Program {
  path: string
  env: NodeJS.ProcessEnv
}

const works = ({ env, path }: Program, ask: string): boolean =>
  run(path, [ask], { env }).status === 0

/** What was unpacked, run with the libraries that were unpacked with it. `place`: of it, below /usr. */
function unpackedProgram(name: string, place: string): Program {
  const usr = join(folderOf(name), 'usr')
  const libraries = join(usr, 'lib')
  const paths = existsSync(libraries) ? readdirSync(libraries) : []
  const LD_LIBRARY_PATH = paths.map((folder) => join(libraries, folder)).join(':')
  return { path: join(usr, place), env: { ...process.env, LD_LIBRARY_PATH } }
}

/**
 * The installed program, or that of Debian's packages, or the reason why there is none. `ask`: the argument by which
 * it tells its version.
 */
export function findProgram(
  name: string,
  place: string,
  packages: readonly string[],
  ask = '--version',
): Program | string {
  const installed = { path: basename(place), env: process.env }
  if (works(installed, ask)) return installed
  const unpacked = () => unpackedProgram(name, place)
  if (works(unpacked(), ask)) return unpacked()
  const missing = fetchPackages(name, packages)
  if (missing !== undefined) return missing
  return works(unpacked(), ask)
    ? unpacked()
    : `the ${basename(place)} that was unpacked does not run`
}

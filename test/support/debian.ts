/**
 * Unpacks Debian packages below build/, for tests that need their programs. Unpacking needs no root and
 * starts no service; only a first `apt-get update` may need root.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const build = fileURLToPath(new URL('../../build/', import.meta.url))

export const run = (command: string, args: readonly string[], options: object = {}) =>
  spawnSync(command, args, { encoding: 'utf8', timeout: 120_000, ...options })

/** The folder below which the unpacked files of `name` are. */
export const folderOf = (name: string): string => build + name

function unpack(name: string, packages: readonly string[]): boolean {
  const cwd = folderOf(name)
  mkdirSync(cwd, { recursive: true })
  if (run('apt-get', ['download', ...packages], { cwd }).status !== 0) return false
  const archives = readdirSync(cwd).filter((file) => file.endsWith('.deb'))
  return archives.every((file) => run('dpkg-deb', ['-x', file, '.'], { cwd }).status === 0)
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

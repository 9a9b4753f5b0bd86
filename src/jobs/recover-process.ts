/**
 * The process that reads a store before the server does, because a damaged file can end whoever reads it
 * (SIGBUS where it is cut short, SIGSEGV where a page holds nonsense). `check FOLDER` reads all of it;
 * `copy DAMAGED FOLDER [SKIPPED ...]` copies what can be read, and says each job's id before it reads it.
 */
import { writeSync } from 'node:fs'
import { BasinError } from '../errors.js'
import { LmdbStore } from './lmdb-store.js'
import { IN_USE_EXIT_CODE } from './recover.js'

const [action, ...folders] = process.argv.slice(2)
try {
  if (action === 'check') await check(folders[0] ?? '')
  else await copy(folders[0] ?? '', folders[1] ?? '', new Set(folders.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(error instanceof BasinError && error.code === 'in_use' ? IN_USE_EXIT_CODE : 1)
}

async function check(folder: string): Promise<void> {
  const store = LmdbStore.open(folder, Infinity, report)
  store.check()
  await store.close()
}

async function copy(from: string, to: string, skipped: ReadonlySet<string>): Promise<void> {
  const damaged = LmdbStore.open(from, Infinity, report, { readOnly: true })
  const store = LmdbStore.open(to, Infinity)
  await damaged.copyTo(store, (id) => {
    if (skipped.has(id)) return false
    writeSync(1, `${id}\n`)
    return true
  })
  await store.close()
  await damaged.close()
}

function report(id: string, reason: string): void {
  console.error(`${id}: ${reason}`)
}

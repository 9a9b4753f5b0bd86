/**
 * The process that reads a store before the server does, because a damaged file can end whoever reads it
 * (SIGBUS where it is cut short, SIGSEGV where a page holds nonsense). `FOLDER NEW [SKIPPED ...]`: copies
 * every whole job into a new store, says each job's id on standard output before it reads it, and each
 * damaged one in a line of standard error.
 */
import { writeSync } from 'node:fs'
import { BasinError } from '../errors.js'
import { LmdbStore } from './lmdb-store.js'
import { IN_USE_EXIT_CODE, UNWRITABLE_EXIT_CODE } from './recover.js'

const exitCodes = new Map([
  ['in_use', IN_USE_EXIT_CODE],
  ['storage_unavailable', UNWRITABLE_EXIT_CODE],
])

const [folder = '', fresh = '', ...skipped] = process.argv.slice(2)
try {
  await copy(new Set(skipped))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit((error instanceof BasinError && exitCodes.get(error.code)) || 1)
}

async function copy(skipped: ReadonlySet<string>): Promise<void> {
  const found = LmdbStore.open(folder, Infinity, report, { readOnly: true })
  const copied = LmdbStore.open(fresh, Infinity, report, { sync: false })
  await found.copyTo(copied, (id) => {
    if (skipped.has(id)) return false
    writeSync(1, `${id}\n`)
    return true
  })
  await copied.close()
  await found.close()
}

function report(id: string, reason: string): void {
  console.error(`${id}: ${reason}`)
}

/**
 * Makes the file of a folder of jobs anew before it is served. A process of its own reads everything and
 * writes what is whole into a new file (see recover-process.ts); if that process dies or stands still, it is
 * begun again without the job at which it did. So a damaged file ends neither the server nor the jobs that
 * are whole. LMDB has no checksums of its pages: a page may be read without an error and yet hold nonsense
 * that a later write falls over, and only pages that were just written are known to be sound.
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'

/** How the process says that another one has the folder. */
export const IN_USE_EXIT_CODE = 3
/** How the process says that the new file could not be written, for example on a full disk. */
export const UNWRITABLE_EXIT_CODE = 4
/** How many jobs may end the copying process before the rest of the file is given up. */
const MAX_LOST_JOBS = 100
/** A process that has read nothing more for so long is stuck in pages that lead in a circle. */
const STANDSTILL_MS = 60_000

interface Outcome {
  /** Null where a signal ended it. */
  code: number | null
  signal: string | null
  /** The jobs that it began to read, in order. */
  ids: string[]
  errors: string[]
}

/**
 * `entry`: the built recover-process. `report` is called with a line for everything that was damaged.
 * Throws `in_use` where another process has the folder.
 */
export async function recoverFolder(
  folder: string,
  entry: string,
  report: (line: string) => void,
): Promise<void> {
  const data = join(folder, 'data.mdb')
  if (!existsSync(data)) return
  const fresh = join(folder, 'rebuilt')
  const { damaged, unwritable } = await copyWhatIsWhole(folder, fresh, entry, report)
  if (unwritable === undefined) {
    if (damaged) setAside(folder, data, report)
    putInPlace(join(fresh, 'data.mdb'), data)
    rmSync(join(folder, 'lock.mdb'), { force: true })
  } else {
    report(`${data} is served as it is, since no copy of it could be written: ${unwritable}`)
  }
  rmSync(fresh, { recursive: true, force: true })
}

interface Copied {
  damaged: boolean
  /** Why the copy could not be written, if it could not. */
  unwritable?: string
}

/** Copies again without the job at which the last copy ended, until a copy comes to its end. */
async function copyWhatIsWhole(
  folder: string,
  fresh: string,
  entry: string,
  report: (line: string) => void,
): Promise<Copied> {
  const skipped: string[] = []
  for (;;) {
    rmSync(fresh, { recursive: true, force: true })
    const outcome = await run(entry, [folder, fresh, ...skipped])
    const { code, errors, ids } = outcome
    if (code === IN_USE_EXIT_CODE) throw new BasinError('in_use', { path: folder })
    if (code === UNWRITABLE_EXIT_CODE) return { damaged: false, unwritable: endOf(outcome) }
    const last = ids.at(-1)
    if (code === 0) {
      for (const line of errors) report(line)
      return { damaged: errors.length + skipped.length > 0 }
    }
    report(`reading ${folder} ended at ${last ?? 'its beginning'} (${endOf(outcome)})`)
    if (last === undefined || skipped.length >= MAX_LOST_JOBS) return { damaged: true }
    skipped.push(last)
  }
}

function setAside(folder: string, data: string, report: (line: string) => void): void {
  const aside = join(folder, `damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`)
  mkdirSync(aside, { mode: 0o700 })
  renameSync(data, join(aside, 'data.mdb'))
  report(`${data} is damaged; it was moved to ${aside}, and all that is whole was copied out of it`)
}

/** There is no copy of a file that could not even be opened. */
function putInPlace(copy: string, data: string): void {
  if (!existsSync(copy)) return
  const descriptor = openSync(copy, 'r+')
  fsyncSync(descriptor)
  closeSync(descriptor)
  renameSync(copy, data)
}

const endOf = ({ code, errors, signal }: Outcome): string =>
  signal ?? errors.at(-1) ?? `exit code ${code ?? 'unknown'}`

function run(entry: string, args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const standstill = setTimeout(() => child.kill('SIGKILL'), STANDSTILL_MS)
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    standstill.refresh()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(standstill)
      resolve({ code, signal, ids: linesOf(output), errors: linesOf(errors) })
    })
  })
}

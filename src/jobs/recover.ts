/**
 * Looks a folder of jobs over before it is served. A process of its own reads everything (see
 * recover-process.ts); if that process dies, the file is set aside and what can be read of it is copied
 * into a new one. So a damaged file ends neither the server nor the jobs that are whole.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'

/** How the process says that another one has the folder. */
export const IN_USE_EXIT_CODE = 3
/** How many jobs may end the copying process before the rest of the file is given up. */
const MAX_LOST_JOBS = 100

interface Outcome {
  /** Null where a signal ended it. */
  code: number | null
  signal: string | null
  /** What it wrote, line by line. */
  output: string[]
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
  const checked = await run(entry, ['check', folder])
  if (checked.code === IN_USE_EXIT_CODE) throw new BasinError('in_use', { path: folder })
  for (const line of checked.errors) report(line)
  if (checked.code === 0) return

  const aside = join(folder, `damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`)
  mkdirSync(aside, { mode: 0o700 })
  renameSync(data, join(aside, 'data.mdb'))
  rmSync(join(folder, 'lock.mdb'), { force: true })
  report(`${data} is damaged (${endOf(checked)}); it was moved to ${aside}`)
  const { copied, lost } = await copyWhatIsWhole(aside, folder, entry, report)
  report(`${copied} stored responses were recovered from it, ${lost} were lost while reading`)
}

/** Copies again without the job at which the last copy died, until a copy comes to its end. */
async function copyWhatIsWhole(
  aside: string,
  folder: string,
  entry: string,
  report: (line: string) => void,
): Promise<{ copied: number; lost: number }> {
  const skipped: string[] = []
  for (;;) {
    const { code, output, ...rest } = await run(entry, ['copy', aside, folder, ...skipped])
    const last = output.at(-1)
    if (code === 0) return { copied: output.length, lost: skipped.length }
    report(`reading it ended at ${last ?? 'its beginning'} (${endOf({ code, ...rest })})`)
    if (last === undefined || skipped.length >= MAX_LOST_JOBS) {
      return {
        copied: Math.max(0, output.length - 1),
        lost: skipped.length + Number(last !== undefined),
      }
    }
    skipped.push(last)
  }
}

const endOf = ({ code, errors, signal }: Omit<Outcome, 'output'>): string =>
  signal ?? errors.at(-1) ?? `exit code ${code ?? 'unknown'}`

function run(entry: string, args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      resolve({ code, signal, output: linesOf(output), errors: linesOf(errors) })
    })
  })
}

/** How many files a streamed completion passes, and how many calls lead to a chunk, as measured on the built code. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeModel } from '../support/process.js'

interface Measured {
  files: Record<'before' | 'path' | 'library' | 'engine', string[]>
  /** From the worker's message to the write. */
  calls: { file: string; name: string }[]
}

const script = fileURLToPath(new URL('request-path.mjs', import.meta.url))
const dist = fileURLToPath(new URL('../../dist/', import.meta.url))

let measured: Measured
beforeAll(() => {
  const root = mkdtempSync(join(tmpdir(), 'basin-path-'))
  const model = writeModel(root, 'letters')
  measured = JSON.parse(
    execFileSync(process.execPath, [script, model, '--json'], { encoding: 'utf8' }),
  ) as Measured
  rmSync(root, { recursive: true })
})

describe('a streamed completion', () => {
  it('passes at most 40 files from its route to the engine and back', () => {
    const { path } = measured.files
    expect(path).toContain('server/routes/completion-routes.js')
    expect(path).toContain('generation/core/engine-core.js')
    expect(path.length).toBeLessThanOrEqual(40)
  })

  it('passes no file twice, and only files that are there', () => {
    const all = Object.values(measured.files).flat()
    expect(new Set(all).size).toBe(all.length)
    expect(all.filter((file) => !existsSync(join(dist, file)))).toEqual([])
  })
})

describe('a chunk', () => {
  const places = () => [...new Set(measured.calls.map(({ file }) => file))]

  it('leads from the worker thread to the stream of the completion', () => {
    expect(places()[0]).toBe('generation/client/worker-thread.js')
    expect(places().at(-1)).toBe('server/openai/completion-stream.js')
  })

  it('takes at most 3 calls in 2 files of the server', () => {
    const calls = measured.calls.filter(({ file }) => file.startsWith('server/'))
    expect(calls.length).toBeLessThanOrEqual(3)
    expect(places().filter((file) => file.startsWith('server/')).length).toBeLessThanOrEqual(2)
  })
})

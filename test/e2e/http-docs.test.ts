/** Every example of docs/http.md, against a real server: the shell's, TypeScript's and Python's. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Server, shipped, shippedModels } from '../support/process.js'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(join(root, 'docs/http.md'), 'utf8')

/** The examples in one language, in their order. */
const blocks = (language: string): string[] =>
  [...page.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].flatMap(([, name, text = '']) =>
    name === language ? [text] : [],
  )

const python = process.env['BASIN_PYTHON'] ?? 'python3'
const withClient = (): boolean => {
  try {
    execFileSync(python, ['-c', 'import openai'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.skipIf(!shipped)('the examples of docs/http.md', () => {
  let server: Server
  const here = (text: string) => text.replaceAll('http://127.0.0.1:8000', server.url)
  beforeAll(async () => {
    const models = mkdtempSync(join(tmpdir(), 'basin-docs-'))
    for (const name of ['stories', 'sudoku6']) {
      symlinkSync(join(shippedModels, name), join(models, name))
    }
    server = await Server.start(models)
  })
  afterAll(() => server.stop())

  it.each(blocks('sh').map((text) => [text.split('\n')[0]?.slice(0, 100), text]))(
    'work in the shell: %s',
    async (_, text) => {
      const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', here(text)])
      expect(stdout.length).toBeGreaterThan(0)
      expect(stdout).not.toContain('"error":{')
    },
  )

  it('work in TypeScript', async () => {
    const { outputText } = ts.transpileModule(here(blocks('ts').join('\n')), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    })
    // Inside this project, so that its imports are found.
    const path = join(root, 'test', 'e2e', `docs-${process.pid}.mjs`)
    writeFileSync(path, outputText)
    try {
      const { stdout } = await run(process.execPath, [path])
      expect(stdout).toContain('true')
    } finally {
      rmSync(path)
    }
  })

  // Needs the package `openai` of Python's registry; BASIN_PYTHON names an interpreter that has it.
  it.skipIf(!withClient())('work in Python', async () => {
    const { stdout } = await run(python, ['-c', here(blocks('python').join('\n'))])
    expect(stdout).toContain('True')
  })
})

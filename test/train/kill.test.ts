/** Runs `basin train` as a process and kills it at random moments. Needs the build (npm run build). */
import { spawn, type ChildProcess } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readState } from '../../src/train/training-state.js'
import { configOf } from '../support/models.js'
import { describeWebgpu, everything } from '../webgpu/support.js'

const basin = new URL('../../dist/cli/main.js', import.meta.url).pathname
const directory = mkdtempSync(join(tmpdir(), 'basin-kill-'))
const path = (name: string) => join(directory, name)
const kills = 10
const updates = 60

writeFileSync(
  path('config.json'),
  JSON.stringify(configOf({ vocab_size: 5, answer: { block: 1 } })),
)
writeFileSync(
  path('tokenizer.json'),
  JSON.stringify({
    format: 'basin-tokenizer/1',
    kind: 'characters',
    alphabet: ['a', 'b', 'c', 'd'],
    special: { '<|end|>': 4 },
    bos: '<|end|>',
  }),
)
writeFileSync(path('text.txt'), 'abacadabcbdbcdc'.repeat(20))

/** `fileLimit`: the largest size of a file in bytes, which has the effect of a full disk; 0 for none. */
function train(out: string, replay = 8, fileLimit = 0, more: object = {}): ChildProcess {
  const flags: object = {
    config: path('config.json'),
    tokenizer: directory,
    data: path('text.txt'),
    valid: path('text.txt'),
    out: path(out),
    updates,
    'save-every': 3,
    'validate-every': 1000,
    'valid-rows': 1,
    budgets: '1',
    batch: 2,
    window: 8,
    replay,
    noise: 0.1,
    backend: 'wasm',
    ...more,
  }
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
  const limited = fileLimit > 0 ? `ulimit -f ${Math.floor(fileLimit / 512)}; ` : ''
  const command = [process.execPath, basin, 'train', ...words]
  return spawn('sh', ['-c', `${limited}exec "$@"`, 'sh', ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

interface Entry {
  update: number
  value: number
  gradientNorm: number
}

/** The complete lines of updates.jsonl; a kill may leave the last one incomplete. */
const entries = (out: string): Entry[] =>
  existsSync(join(path(out), 'updates.jsonl'))
    ? readFileSync(join(path(out), 'updates.jsonl'), 'utf8')
        .split('\n')
        .flatMap((line) => (line.endsWith('}') ? [JSON.parse(line) as Entry] : []))
    : []

/** Value and gradient norm by update. Entries of the same update must be equal. */
function curve(out: string): Map<number, number[]> {
  const seen = new Map<number, number[]>()
  for (const { update, value, gradientNorm } of entries(out)) {
    const known = seen.get(update)
    if (known) expect([value, gradientNorm], `update ${update}`).toEqual(known)
    seen.set(update, [value, gradientNorm])
  }
  return seen
}

/** Resolves with the output on stderr when the process has ended. */
async function finish(child: ChildProcess, expected = 0): Promise<string> {
  let output = ''
  child.stderr?.on('data', (text: Buffer) => (output += text.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  expect(code, output).toBe(expected)
  return output
}

/** Resolves when this number of lines has been logged, or the process has ended. */
async function logged(child: ChildProcess, out: string, lines: number): Promise<void> {
  const watcher = watch(directory, { recursive: true })
  const reached = new Promise<void>((resolve) => {
    watcher.on('change', () => {
      if (entries(out).length >= lines) resolve()
    })
  })
  await Promise.race([reached, once(child, 'exit')])
  watcher.close()
}

/** Kills the process a random time after a random number of further lines. */
async function killSoon(child: ChildProcess, out: string): Promise<void> {
  const exited = once(child, 'exit')
  await logged(child, out, entries(out).length + 1 + Math.floor(Math.random() * 6))
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
  child.kill('SIGKILL')
  await exited
}

describe('basin train', () => {
  it(`has the losses and weights of an uninterrupted run after ${kills} kills`, async () => {
    await finish(train('whole'))
    for (let i = 0; i < kills; i++) await killSoon(train('killed'), 'killed')
    await finish(train('killed'))
    const whole = curve('whole')
    expect(whole.size).toBe(updates)
    expect(curve('killed')).toEqual(whole)
    expect(readState(path('killed'))?.tensors).toEqual(readState(path('whole'))?.tensors)
  }, 900_000)

  it('keeps the last saved state on a full disk, and resumes when there is room', async () => {
    const replay = 400
    await finish(train('roomy', replay))
    const state = join(path('roomy'), 'state.safetensors')
    // The replay buffer makes each state larger than the one before; the last ones exceed the limit.
    const limit = statSync(state).size - 4096
    expect(await finish(train('full', replay, limit), 1)).toMatch(/cannot be written to .*EFBIG/)
    const reached = readState(path('full'))?.update as number
    expect(reached % 3).toBe(0)
    expect(reached).toBeGreaterThan(0)
    expect(reached).toBeLessThan(updates)
    appendFileSync(join(path('full'), 'updates.jsonl'), '{"update":4')
    expect(await finish(train('full', replay))).toContain(`resumed at update ${reached}`)
    expect(curve('full')).toEqual(curve('roomy'))
    expect(readState(path('full'))?.tensors).toEqual(readState(path('roomy'))?.tensors)
    const lines = readFileSync(join(path('full'), 'updates.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
    for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow()
  }, 300_000)

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'saves its last update on %s',
    async (signal) => {
      const child = train(signal)
      const finished = finish(child)
      await logged(child, signal, 4)
      child.kill(signal)
      await finished
      const { update } = readState(path(signal)) ?? {}
      expect(update).toBeGreaterThanOrEqual(4)
      expect(update).toBe(entries(signal).at(-1)?.update)
    },
    120_000,
  )
})

// A software adapter takes a minute for it: with BASIN_WEBGPU_TESTS=all.
describeWebgpu('basin train --backend webgpu', () => {
  it.runIf(everything)(
    'names the adapter, and goes on after SIGTERM to the same weights',
    async () => {
      const onGpu = (out: string) => train(out, 8, 0, { backend: 'webgpu', updates: 8 })
      expect(await finish(onGpu('gpu-whole'))).toMatch(/on webgpu \(asked for, on \S/)
      const child = onGpu('gpu-parts')
      const finished = finish(child)
      await logged(child, 'gpu-parts', 3)
      child.kill('SIGTERM')
      await finished
      const reached = readState(path('gpu-parts'))?.update ?? 0
      expect(reached).toBeGreaterThanOrEqual(3)
      expect(reached).toBeLessThan(8)
      expect(await finish(onGpu('gpu-parts'))).toContain(`resumed at update ${reached}`)
      expect(curve('gpu-parts')).toEqual(curve('gpu-whole'))
      expect(readState(path('gpu-parts'))?.tensors).toEqual(readState(path('gpu-whole'))?.tensors)
    },
    600_000,
  )
})

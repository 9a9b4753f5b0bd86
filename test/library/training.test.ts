/** `train` of the library: reports, an end in between, the same run again, and a model that opens. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type * as TfCore from '@tensorflow/tfjs-core'
import { describe, expect, it } from 'vitest'
import type { TrainRequest, TrainingReport } from '../../src/library/library.js'
import { BasinError, openModel, train } from '../support/built-library.js'
import { writeModels } from '../support/process.js'

/** The instance that the built library computes with. */
const tf = createRequire(import.meta.url)('@tensorflow/tfjs-core') as typeof TfCore
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = writeModels()
const letters = join(root, 'letters')
const text = join(root, 'text.txt')
writeFileSync(text, 'the cat sat on the mat and the dog lay on the log '.repeat(8))

const request = (more: Partial<TrainRequest> = {}): TrainRequest => ({
  model: letters,
  data: text,
  valid: text,
  out: mkdtempSync(join(tmpdir(), 'basin-trained-')),
  updates: 6,
  batch: 2,
  window: 8,
  warmup: 2,
  horizon: 1,
  budgets: [1],
  validRows: 4,
  saveEvery: 100,
  collapseAt: 0,
  backend: 'wasm',
  ...more,
})

const losses = (reports: readonly TrainingReport[]) =>
  reports.flatMap((each) => (each.type === 'update' ? [each.losses.at(-1)] : []))

async function reportsOf(asked: TrainRequest): Promise<TrainingReport[]> {
  const reports: TrainingReport[] = []
  for await (const report of train(asked)) reports.push(report)
  return reports
}

describe('train', () => {
  it('reports every update and the last validation, and writes a model that opens', async () => {
    const run = train(request({ name: 'mine' }))
    const reports: TrainingReport[] = []
    for await (const report of run) reports.push(report)
    expect(reports.map(({ type }) => type)).toEqual([
      ...new Array<string>(6).fill('update'),
      'validation',
    ])
    const { directory, scores, updates } = await run.result()
    expect(updates).toBe(6)
    expect(scores.map(({ steps }) => steps)).toEqual([1])
    const model = await openModel(directory, { engine: 'tfjs:wasm', threads: 1 })
    try {
      expect(model.name).toBe('mine')
      expect((await model.generate({ prompt: 'the', maxSteps: 3 })).steps).toBeGreaterThan(0)
    } finally {
      await model.close()
    }
  })

  it('saves and ends where the signal aborts, and the same call goes on as if it had not', async () => {
    const whole = losses(await reportsOf(request()))
    const asked = request()
    const controller = new AbortController()
    const first = train({ ...asked, signal: controller.signal })
    const reports: TrainingReport[] = []
    await expect(async () => {
      for await (const report of first) {
        reports.push(report)
        if (report.type === 'update' && report.update === 3) controller.abort(new Error('later'))
      }
    }).rejects.toThrow('later')
    const rest = await reportsOf(asked)
    expect(rest[0]).toMatchObject({ type: 'update', update: losses(reports).length + 1 })
    expect([...losses(reports), ...losses(rest)]).toEqual(whole)
  })

  it('saves where the loop is left, and frees its tensors', async () => {
    const asked = request()
    const before = tf.memory().numTensors
    const run = train(asked)
    for await (const report of run) if (report.type === 'update' && report.update === 2) break
    await expect(run.result()).rejects.toThrow('was left')
    expect(tf.memory().numTensors).toBe(before)
    const [next] = await reportsOf(asked)
    expect(next).toMatchObject({ type: 'update' })
    expect(next?.update).toBeGreaterThan(2)
  })

  it('writes the state that `basin train` resumes', async () => {
    const asked = request({ updates: 2 })
    await reportsOf(asked)
    const command =
      `train --config ${join(letters, 'config.json')} --tokenizer ${letters} --data ${text} --valid ${text} ` +
      `--out ${asked.out} --updates 4 --batch 2 --window 8 --warmup 2 --horizon 1 --budgets 1 --valid-rows 4 ` +
      '--collapse-at 0 --backend wasm'
    const { status, stderr } = spawnSync(process.execPath, [main, ...command.split(' ')], {
      encoding: 'utf8',
    })
    expect(stderr).toContain('resumed at update 2')
    expect(status).toBe(0)
  })

  it('takes a network that is given by its configuration', async () => {
    const json = JSON.parse(readFileSync(join(letters, 'config.json'), 'utf8')) as object
    const asked = request({ model: { ...json, layers: 1 }, tokenizer: letters, updates: 1 })
    const { directory } = await train(asked).result()
    const written = readFileSync(join(directory, 'config.json'), 'utf8')
    expect(JSON.parse(written)).toMatchObject({ layers: 1 })
    expect(() => train({ ...request(), model: {} })).toThrow(/tokenizer: .* needs a directory/)
  })

  it('takes given shares of blocks, and weights that tell distances first', async () => {
    const more = { updates: 1, given: { min: 0.2, max: 0.8 }, distances: true } as const
    const reports = await reportsOf(request(more))
    expect(reports.map(({ type }) => type)).toEqual(['update', 'validation'])
  })

  it('refuses what is wrong by the name of the field', () => {
    const refused = (more: object, message: RegExp) => {
      const asked = { ...request(), ...more }
      expect(() => train(asked)).toThrow(BasinError)
      expect(() => train(asked)).toThrow(message)
    }
    refused({ updates: 0 }, /updates must be >= 1, got 0/)
    refused({ objective: 'guess' }, /objective: must be one of equilibrium/)
    refused({ learningRate: 1 }, /learningRate: is not a field/)
    refused({ data: [] }, /data/)
  })

  it('throws in the loop what is found out later', async () => {
    await expect(train(request({ data: join(root, 'missing.txt') })).result()).rejects.toThrow(
      /missing\.txt/,
    )
  })
})

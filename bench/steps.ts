/**
 * How fast does an engine descend? For each model, batch and context: the time of one step of the whole
 * batch (median), steps and tokens per second, and the share of what the machine can do, measured in
 * the same run: peak multiply-adds beside the native engine, the fastest matrix product of the
 * backend beside tfjs. bench/native.mjs looks closer, and at larger models.
 *
 *   npm run bench -- [--engines auto,tfjs] [--models models/stories,models/sudoku6] [--batches 1,8,32]
 *                    [--contexts 0,128] [--steps 16] [--threads 1] [--json file]
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stepCost } from '../src/energy/cost.js'
import type { EnergyEngine } from '../src/energy/engine.js'
import { NativeEngine } from '../src/energy/native/engine.js'
import { openEngine } from '../src/energy/open.js'
import { loadBackend } from '../src/energy/tfjs/backend.js'
import { landscapeOf } from '../src/model/config.js'
import { measureMachine, productPeak, timed } from './machine.js'

const { values: flags } = parseArgs({
  options: {
    engines: { type: 'string', default: 'auto,tfjs' },
    models: { type: 'string', default: 'models/stories,models/sudoku6' },
    batches: { type: 'string', default: '1,8,32' },
    contexts: { type: 'string', default: '0,128' },
    steps: { type: 'string', default: '16' },
    threads: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
})
// Compiled for the benchmark, the engine stands elsewhere than its addon.
process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))

const list = (text: string): string[] => text.split(',')
const numbers = (text: string): number[] => list(text).map(Number)
const threads = Number(flags.threads)
const steps = Number(flags.steps)

interface Line {
  model: string
  engine: string
  batch: number
  context: number
  /** Of one step of the whole batch. */
  milliseconds: number
  stepsPerSecond: number
  /** Answers settled after the model's own number of steps, read and committed. */
  tokensPerSecond: number
  gflops: number
  /** What the machine, or the tfjs backend, does at most. */
  peakGflops: number
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

/** Contexts that fit: an answer needs room behind its context. */
const contextsOf = ({ model }: EnergyEngine): number[] =>
  model.template?.length === undefined
    ? numbers(flags.contexts).filter((n) => n + 2 * model.answer.block <= model.context_length)
    : [0]

function measure(engine: EnergyEngine, peakGflops: number, batch: number, context: number): Line {
  const { model, capacity } = engine
  const rows = Array.from({ length: batch }, (_, slot) => slot)
  const perSequence = Math.ceil(model.context_length / capacity.pageSize)
  const pages = (sequence: number) =>
    Array.from({ length: perSequence }, (_, page) => sequence * perSequence + page)
  const tokens = Array.from({ length: context }, (_, i) => (i * 7919) % model.vocab_size)
  engine.observe(rows.map((sequence) => ({ sequence, tokens, pages: pages(sequence) })))
  const begin = () => {
    engine.begin(rows.map((slot) => ({ slot, sequence: slot, seed: 1, candidate: slot })))
  }
  const descend = (step: number) => {
    const landscape = landscapeOf(model, step)
    engine.descend(rows.map((slot) => ({ slot, landscape, noise: 0, step })))
  }
  const seconds: number[] = []
  begin()
  for (let step = 0; step < steps; step++) seconds.push(timed(() => descend(step)))
  const answer = timed(() => {
    begin()
    for (let step = 0; step < model.steps; step++) descend(step)
    const readings = engine.read(rows.map((slot) => ({ slot, which: 'best', top: 1 })))
    if (model.template?.length !== undefined) return
    engine.observe(
      readings.map(({ tokens: answered }, sequence) => ({
        sequence,
        tokens: [...answered],
        pages: pages(sequence),
      })),
    )
  })
  for (const sequence of rows) engine.release(sequence)
  // The first steps warm caches up.
  const step = median(seconds.slice(2))
  return {
    model: model.name,
    engine: `${engine.info.name} on ${engine.info.backend}`,
    batch,
    context,
    milliseconds: 1000 * step,
    stepsPerSecond: batch / step,
    tokensPerSecond: (batch * model.answer.block) / answer,
    gflops: (batch * stepCost(model, context).flops) / step / 1e9,
    peakGflops,
  }
}

const machine = measureMachine()
const { tf } = await loadBackend('auto', threads)
const product = productPeak(tf)
console.log(
  `${machine.cpu}, ${machine.cores} cores, load ${machine.load.toFixed(1)}, Node ${machine.node}, ` +
    `commit ${machine.commit}, ${threads} thread(s), ${steps} steps\n` +
    `memory read ${machine.readGBs.toFixed(1)} GB/s (one core), ` +
    `matrix product of the tfjs backend ${product.toFixed(1)} GFLOP/s\n`,
)
const row = (cells: readonly string[]) =>
  `| ${cells.map((c, i) => (i < 2 ? c.padEnd(16) : c.padStart(8))).join(' | ')} |`
const heads = ['model', 'engine', 'batch', 'context', 'ms/step', 'steps/s', 'tokens/s', 'GFLOP/s']
console.log(row([...heads, 'of peak']))
console.log(row([...heads, ''].map((_, i) => (i < 2 ? '---' : '---:'))))

const lines: Line[] = []
const most = Math.max(...numbers(flags.batches))
for (const directory of list(flags.models)) {
  for (const name of list(flags.engines)) {
    const engine = await openEngine({
      directory,
      engine: name,
      threads,
      slots: most,
      sequences: most,
      pages: 4096,
    })
    const peak = engine instanceof NativeEngine ? engine.measure().flops / 1e9 : product
    for (const batch of numbers(flags.batches)) {
      for (const context of contextsOf(engine)) {
        const line = measure(engine, peak, batch, context)
        lines.push(line)
        const figures = [line.milliseconds, line.stepsPerSecond, line.tokensPerSecond, line.gflops]
        console.log(
          row([
            line.model,
            line.engine,
            String(batch),
            String(context),
            ...figures.map((x) => x.toPrecision(3)),
            `${((100 * line.gflops) / peak).toFixed(0)} % of ${peak.toFixed(0)}`,
          ]),
        )
      }
    }
    engine.close()
  }
}
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ machine, threads, lines }, null, 2)}\n`)

// Step times of the native engine beside the machine's own limits, measured in the same run, and
// beside the tfjs engine where it is asked for:
//   npm run build && node bench/native.mjs [--models a,b] [--batches 1,8] [--contexts 0,256]
//     [--weights f32,bf16,int8] [--threads 2] [--seconds 1] [--tfjs] [--json file]
// The floor of a step is the larger of weight (and cache) bytes over read bandwidth and operations
// over peak multiply-adds. Times are medians over at least `seconds` of steps.
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { loadAddon } from '../dist/energy/native/addon.js'
import { nativeEngine } from '../dist/energy/native/engine.js'
import { loadBackend } from '../dist/energy/tfjs/backend.js'
import { TfjsEngine } from '../dist/energy/tfjs/engine.js'
import { openCheckpoint } from '../dist/model/checkpoint.js'
import { parseConfig, readConfig } from '../dist/model/config.js'
import { initialWeights } from '../dist/train/initial.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'head-6-384-50277,stories,sudoku6' },
    batches: { type: 'string', default: '1,8,32,64' },
    contexts: { type: 'string', default: '0,256,1024' },
    weights: { type: 'string', default: 'f32,bf16,int8' },
    kernels: { type: 'string', default: 'auto' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '1' },
    tfjs: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const list = (text) => text.split(',')
const threads = Number(flags.threads)

// The published architecture at its size xxs, longer in context than it was trained.
const headConfig = {
  format: 'basin-ebt/1',
  name: 'head-6-384-50277',
  description: 'random weights',
  created: 0,
  vocab_size: 50277,
  dim: 384,
  layers: 6,
  heads: 6,
  ffn_dim: 384,
  context_length: 2048,
  norm_eps: 1e-5,
  rope_theta: 10000,
  conditioning: 'none',
  landscapes: 1,
  steps: 2,
  answer: {
    space: 'vocab',
    block: 1,
    start: 'noise',
    start_scale: 1,
    normalize: 'every_step',
    embed: 'vocab_to_embed',
  },
  energy: { kind: 'head', direction: 'exact', doubt: 0 },
}

function checkpointOf(name) {
  if (name === headConfig.name) {
    const config = parseConfig(headConfig, 'bench')
    return { config, tensors: initialWeights(config, 1, 0.5) }
  }
  const directory = new URL(`../models/${name}`, import.meta.url).pathname
  if (existsSync(`${directory}/model.safetensors`)) return openCheckpoint(directory)
  const config = readConfig(directory)
  return { config, tensors: initialWeights(config, 1, 0.5) }
}

/** Operations of one step of one answer, multiply-adds counted twice. */
function operations(
  { dim, ffn_dim: ffn, layers, heads, vocab_size: vocab, answer, energy },
  context,
) {
  const k = answer.block
  const passes = energy.kind === 'residual' && energy.direction === 'amortized' ? 1 : 2
  const products = layers * (4 * dim * dim + 3 * dim * ffn)
  const attention = layers * 2 * dim * (context + k) * (passes === 1 ? 1 : 2.5)
  const readout =
    answer.space === 'vocab'
      ? 2 * vocab * dim
      : energy.kind === 'residual'
        ? vocab * dim + dim * dim
        : 0
  return 2 * k * (passes * products + attention + readout)
}

const cacheBytes = ({ dim, layers, energy }, context) =>
  layers *
  2 *
  dim *
  4 *
  context *
  (energy.kind === 'residual' && energy.direction === 'amortized' ? 1 : 2)

function fill(engine, batch, context) {
  const { pageSize } = engine.capacity
  const perRow = Math.ceil((context + 1) / pageSize)
  for (let row = 0; row < batch; row++) {
    const pages = Array.from({ length: perRow }, (_, i) => row * perRow + i)
    const tokens = Array.from(
      { length: context },
      (_, i) => (i * 7919 + row) % engine.model.vocab_size,
    )
    engine.observe([{ sequence: row, tokens, pages }])
    engine.begin([{ slot: row, sequence: row, seed: row, candidate: 0 }])
  }
}

/** Median and least seconds of a step on `batch` rows, and processor seconds of all threads. */
function time(engine, batch, seconds) {
  const rows = Array.from({ length: batch }, (_, slot) => ({
    slot,
    landscape: 0,
    noise: 0,
    step: 1,
  }))
  for (let i = 0; i < 3; i++) engine.descend(rows)
  const times = []
  const before = process.cpuUsage()
  const end = performance.now() + 1000 * seconds
  while (times.length < 5 || performance.now() < end) {
    const from = performance.now()
    engine.descend(rows)
    times.push((performance.now() - from) / 1000)
  }
  const { user, system } = process.cpuUsage(before)
  const processor = (user + system) / 1e6 / times.length
  times.sort((a, b) => a - b)
  return { seconds: times[times.length >> 1], least: times[0], processor }
}

function commit() {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

const addon = loadAddon()
const results = []
const report = (row) => {
  results.push(row)
  const cell = (value, width) => String(value).padStart(width)
  const ratio = row.floor ? (row.seconds / row.floor).toFixed(2) : ''
  console.log(
    [
      row.engine.padEnd(14),
      row.model.padEnd(18),
      cell(row.batch, 4),
      cell(row.context, 5),
      cell((row.seconds * 1000).toFixed(3), 10),
      cell((row.least * 1000).toFixed(3), 10),
      cell((row.processor * 1000).toFixed(3), 10),
      cell((row.batch / row.seconds).toFixed(0), 8),
      cell((row.operations / row.seconds / 1e9).toFixed(0), 7),
      cell(
        row.peak ? ((100 * row.operations) / row.seconds / row.peak.flops).toFixed(0) + ' %' : '',
        6,
      ),
      cell(ratio, 7),
    ].join(' '),
  )
}

console.log(`${cpus()[0].model}, ${cpus().length} cores, ${threads} threads, commit ${commit()}`)
console.log(
  'engine         model             batch context     ms/step   least ms     cpu ms  steps/s GFLOP/s of peak  floor x',
)
for (const name of list(flags.models)) {
  const checkpoint = checkpointOf(name)
  const { config } = checkpoint
  const contexts = list(flags.contexts)
    .map(Number)
    .filter((n) => n + config.answer.block <= config.context_length)
  const batches = list(flags.batches).map(Number)
  const rows = Math.max(...batches)
  const capacity = {
    slots: rows,
    sequences: rows,
    pages: rows * Math.ceil((Math.max(...contexts) + 1) / 16),
  }
  const measureOn = (engine, label, peak, stepBytes) => {
    for (const context of contexts)
      for (const batch of batches) {
        fill(engine, batch, context)
        const { seconds, least, processor } = time(engine, batch, Number(flags.seconds))
        const work = batch * operations(config, context)
        const bytes = stepBytes + batch * cacheBytes(config, context)
        const floor = peak && Math.max(bytes / peak.bytesPerSecond, work / peak.flops)
        report({
          engine: label,
          model: name,
          batch,
          context,
          seconds,
          least,
          processor,
          operations: work,
          bytes,
          floor,
          peak,
        })
        for (let row = 0; row < batch; row++) engine.release(row)
      }
    engine.close()
  }
  for (const weights of list(flags.weights)) {
    const engine = nativeEngine(checkpoint, addon, {
      capacity,
      threads,
      weights,
      reason: 'benchmark',
      kernels: flags.kernels,
    })
    const { flops, bytesPerSecond, stepBytes } = engine.measure()
    console.log(
      `peak ${(flops / 1e9).toFixed(0)} GFLOP/s, reads ${(bytesPerSecond / 1e9).toFixed(1)} GB/s; ` +
        `${engine.info.backend}: ${(stepBytes / 1e6).toFixed(1)} MB of weights a step, ${(engine.memory() / 1e6).toFixed(0)} MB held`,
    )
    measureOn(engine, `native ${weights}`, { flops, bytesPerSecond }, stepBytes)
  }
  if (flags.tfjs) {
    const backend = await loadBackend('auto', threads)
    measureOn(
      new TfjsEngine(checkpoint, backend, { ...capacity, pageSize: 16 }, threads),
      `tfjs ${backend.name}`,
      undefined,
      0,
    )
  }
}
if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ commit: commit(), threads, results }, null, 2)}\n`)

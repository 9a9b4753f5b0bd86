/**
 * How fast does an engine descend, and how far from what the machine allows? For each model, engine,
 * context and batch: the time of one step of the whole batch, beside the floor that follows from peak
 * multiply-adds and read bandwidth, both measured in the same run, and beside the tfjs engine.
 *
 *   npm run bench -- [--models head-6-384-50277,stories,sudoku6] [--engines f32,bf16,int8,tfjs:wasm]
 *                    [--batches 1,8,32,64] [--contexts 0,256,1024] [--threads 2] [--seconds 0.7] [--json file]
 *
 * The floor of a step is the larger of bytes (weights, each once per use, and cache) over bandwidth and
 * operations over peak; tfjs is held to the floor of float32. `ms` is a median, `least` the best; `cpu`
 * is the processor's time of all threads, which tells a busy machine from a slow kernel. A context
 * too long for a model is cut to what it holds; a puzzle has none, and its givens are clamped.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stepCost } from '../src/energy/cost.js'
import { loadAddon } from '../src/energy/native/addon.js'
import { NativeEngine, nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize, weightTypes } from '../src/energy/native/options.js'
import { type BackendChoice, loadBackend } from '../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../src/energy/tfjs/engine.js'
import { landscapeOf } from '../src/model/config.js'
import { measureMachine, timed } from './machine.js'
import { clampedOf, operationsOf, type Subject, subjectOf } from './models.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'head-6-384-50277,stories,sudoku6' },
    engines: { type: 'string', default: 'f32,bf16,int8,tfjs:wasm' },
    batches: { type: 'string', default: '1,8,32,64' },
    contexts: { type: 'string', default: '0,256,1024' },
    threads: { type: 'string', default: String(availableParallelism()) },
    seconds: { type: 'string', default: '0.7' },
    json: { type: 'string' },
  },
})
// Compiled for the benchmark, the engine stands elsewhere than its addon.
process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))

const list = (text: string): string[] => text.split(',')
const numbers = (text: string): number[] => list(text).map(Number)
const threads = Number(flags.threads)
const batches = numbers(flags.batches)
const most = Math.max(...batches)
/** Observed positions that the tfjs engine is asked to hold at once: what fits the memory of wasm. */
const tfjsPositions = 16_384

/** What the machine does at most, and what one step reads of the weights. */
interface Limits {
  flops: number
  bytesPerSecond: number
  stepBytes: number
}

interface Line {
  model: string
  engine: string
  context: number
  batch: number
  /** Of one step of the whole batch. */
  milliseconds: number
  least: number
  processor: number
  stepsPerSecond: number
  /** Answers of the model's own number of steps. */
  answersPerSecond: number
  gflops: number
  shareOfPeak: number
  floorMilliseconds: number
  timesFloor: number
}

const contextsOf = ({ checkpoint: { config } }: Subject): number[] => {
  if (config.template?.length !== undefined) return [0]
  const longest = config.context_length - config.answer.block
  return [...new Set(numbers(flags.contexts).map((n) => Math.min(n, longest)))]
}

const pagesPerRow = (subject: Subject): number =>
  Math.ceil(
    (Math.max(...contextsOf(subject)) + subject.checkpoint.config.answer.block) / nativePageSize,
  )

/** Engines whose verbs return when they are done, so that a clock may stand around them. */
type Engine = TfjsEngine | NativeEngine

async function openEngine(subject: Subject, name: string): Promise<Engine> {
  const capacity = { slots: most, sequences: most, pages: most * pagesPerRow(subject) }
  if (name.startsWith('tfjs:')) {
    const backend = await loadBackend(name.slice('tfjs:'.length) as BackendChoice, threads)
    return new TfjsEngine(
      subject.checkpoint,
      backend,
      { ...capacity, pageSize: nativePageSize },
      threads,
    )
  }
  const weights = weightTypes.find((type) => type === name)
  if (!weights)
    throw new Error(`no engine ${name}: ${weightTypes.join(', ')}, tfjs:wasm, tfjs:native`)
  const options = { capacity, threads, weights, reason: 'benchmark' }
  return nativeEngine(subject.checkpoint, loadAddon(), options)
}

/** Brings every row's context to `context` tokens, from `before`. */
function observe(
  engine: Engine,
  rows: number,
  before: number,
  context: number,
  perRow: number,
): void {
  const { vocab_size: vocab } = engine.model
  for (let row = 0; row < rows; row++) {
    const pages = Array.from({ length: perRow }, (_, page) => row * perRow + page)
    const tokens = Array.from(
      { length: context - before },
      (_, i) => ((before + i) * 7919 + row) % vocab,
    )
    engine.observe([{ sequence: row, tokens, pages }])
  }
}

/** Seconds of each step, at least three; and processor seconds of one, all threads together. */
function time(
  engine: Engine,
  subject: Subject,
  batch: number,
): { times: number[]; processor: number } {
  engine.begin(
    Array.from({ length: batch }, (_, slot) => ({
      ...{ slot, sequence: slot, seed: slot, candidate: 0 },
      ...(subject.givens && { clamped: subject.givens(slot) }),
    })),
  )
  let step = 0
  const descend = () => {
    const landscape = landscapeOf(engine.model, step)
    engine.descend(
      Array.from({ length: batch }, (_, slot) => ({ slot, landscape, noise: 0, step })),
    )
    step++
  }
  for (
    const warm = performance.now() + 100 * Number(flags.seconds);
    step < 2 || performance.now() < warm;
  )
    descend()
  const times: number[] = []
  const before = process.cpuUsage()
  const end = performance.now() + 1000 * Number(flags.seconds)
  while (times.length < 3 || performance.now() < end) times.push(timed(descend))
  const { user, system } = process.cpuUsage(before)
  return { times: times.sort((a, b) => a - b), processor: (user + system) / 1e6 / times.length }
}

function measure(
  engine: Engine,
  subject: Subject,
  limits: Limits,
  [context, batch]: [number, number],
): Line {
  const { times, processor } = time(engine, subject, batch)
  const { model, info } = engine
  const operations = operationsOf(model, context, batch, clampedOf(subject, batch))
  const bytes = limits.stepBytes + 4 * batch * stepCost(model, context).cache
  const floor = Math.max(bytes / limits.bytesPerSecond, operations / limits.flops)
  const seconds = times[times.length >> 1] as number
  return {
    model: model.name,
    engine: `${info.name} ${info.backend}`,
    context,
    batch,
    milliseconds: 1000 * seconds,
    least: 1000 * (times[0] as number),
    processor: 1000 * processor,
    stepsPerSecond: batch / seconds,
    answersPerSecond: batch / seconds / model.steps,
    gflops: operations / seconds / 1e9,
    shareOfPeak: operations / seconds / limits.flops,
    floorMilliseconds: 1000 * floor,
    timesFloor: seconds / floor,
  }
}

const row = (cells: readonly string[]) =>
  `| ${cells.map((c, i) => (i < 2 ? c.padEnd(17) : c.padStart(8))).join(' | ')} |`
const tell = (line: Line) => {
  const { milliseconds, least, processor, stepsPerSecond, answersPerSecond } = line
  console.log(
    row([
      ...[line.model, line.engine, String(line.context), String(line.batch)],
      ...[milliseconds, least, processor, stepsPerSecond, answersPerSecond].map((x) =>
        x.toPrecision(3),
      ),
      `${(100 * line.shareOfPeak).toFixed(0)} %`,
      line.timesFloor.toFixed(2),
    ]),
  )
  return line
}

/** By a float32 engine: peak and bandwidth at this moment. */
async function limitsOf(subject: Subject, engine: Engine): Promise<Limits> {
  if (engine instanceof NativeEngine) return engine.measure()
  const other = await openEngine(subject, 'f32')
  const limits = await limitsOf(subject, other)
  other.close()
  return limits
}

async function measureAll(subject: Subject, name: string, lines: Line[]): Promise<void> {
  const engine = await openEngine(subject, name)
  const limits = await limitsOf(subject, engine)
  let before = 0
  for (const context of contextsOf(subject)) {
    const fits = (batch: number) =>
      engine instanceof NativeEngine || batch * context <= tfjsPositions
    observe(engine, Math.max(...batches.filter(fits)), before, context, pagesPerRow(subject))
    before = context
    for (const batch of batches.filter(fits))
      lines.push(tell(measure(engine, subject, limits, [context, batch])))
  }
  engine.close()
  const { flops, bytesPerSecond, stepBytes } = limits
  console.log(
    `  ${(flops / 1e9).toFixed(0)} GFLOP/s, ${(bytesPerSecond / 1e9).toFixed(1)} GB/s; ` +
      `${(stepBytes / 1e6).toFixed(1)} MB of weights a step`,
  )
  measured.push({ model: subject.checkpoint.config.name, engine: name, ...limits })
}

const machine = measureMachine()
const measured: (Limits & { model: string; engine: string })[] = []
console.log(
  `${machine.cpu}, ${machine.cores} cores, load ${machine.load.toFixed(1)}, Node ${machine.node}, ` +
    `commit ${machine.commit}, ${threads} thread(s)\n`,
)
const heads = ['model', 'engine', 'context', 'batch', 'ms', 'least', 'cpu', 'steps/s', 'answers/s']
console.log(row([...heads, 'of peak', 'x floor']))
console.log(row([...heads, '', ''].map((_, i) => (i < 2 ? '---' : '---:'))))
const lines: Line[] = []
for (const model of list(flags.models)) {
  const subject = subjectOf(model)
  for (const engine of list(flags.engines)) await measureAll(subject, engine, lines)
}
if (flags.json !== undefined)
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, threads, limits: measured, lines }, null, 2)}\n`,
  )

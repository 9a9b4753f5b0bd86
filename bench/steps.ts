/**
 * How fast does an engine descend, and how far is that from what the machine allows? For each model,
 * engine, context and batch: the time of one step of the whole batch, beside the floor that follows from
 * the peak of multiply-adds and the bandwidth of memory, both measured in the same run, and beside the tfjs
 * engine.
 *
 * The floor of a step is the larger of bytes (weights, each once per use, and cache) over bandwidth and
 * operations over peak; the floor of the tfjs engine is that of float32. `ms` is a median and `least` the
 * fastest step; `cpu` is processor time of all threads, in which a busy machine differs from a slow kernel.
 * With --candidates, so many rows after each other are candidates of one answer, on one context.
 * A context that is too long for a model is cut to what it holds; a puzzle has none, and its givens are
 * clamped.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { stepCost } from '../src/energy/cost.js'
import type { EnergyEngine } from '../src/energy/engine.js'
import { loadAddon } from '../src/energy/native/addon.js'
import { NativeEngine, nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize, numberBytes } from '../src/energy/native/options.js'
import { type BackendChoice, loadBackend } from '../src/energy/tfjs/backend.js'
import { TfjsEngine } from '../src/energy/tfjs/engine.js'
import { landscapeOf } from '../src/model/config.js'
import './addon.js'
import { listOf, numberOf, numbersOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median, timedUntilDone } from './machine.js'
import { clampedOf, numberTypeOf, operationsOf, type Subject, subjectOf } from './models.js'

const NAME = 'steps'
const flags = readFlags(
  NAME,
  'Times a descent step, beside the limit of the machine and the tfjs engine.',
  {
    models: {
      default: 'head-6-384-50277,stories,sudoku6',
      help: 'names of shipped models or directories; head-6-384-50277 is the published size xxs',
    },
    engines: {
      default: 'f32,bf16,int8,tfjs:wasm',
      help: 'weight types of the native engine, tfjs:wasm, tfjs:native',
    },
    batches: { default: '1,8,32,64', help: 'answers that descend together' },
    contexts: { default: '0,256,1024', help: 'tokens before the answer' },
    candidates: { default: '1', help: 'rows of a batch that share a context' },
    'cache-type': { default: 'f32', help: 'number type of the context cache of the native engine' },
    threads: { default: String(availableParallelism()), help: 'threads of the engine' },
    seconds: { default: '0.7', help: 'seconds of each measurement' },
    json: { default: '', help: 'also write the figures to this file' },
  },
)
const threads = numberOf(NAME, 'threads', flags.threads, 1)
const seconds = numberOf(NAME, 'seconds', flags.seconds)
const batches = numbersOf(NAME, 'batches', flags.batches, 1)
const contexts = numbersOf(NAME, 'contexts', flags.contexts)
const candidates = numberOf(NAME, 'candidates', flags.candidates, 1)
const cacheType = numberTypeOf(flags['cache-type'])
const maxBatch = Math.max(...batches)
/** The most observed positions of the tfjs engine; more do not fit in the memory of wasm. */
const MAX_TFJS_POSITIONS = 16_384

/** What the machine does at most, and the bytes of weights that one step reads. */
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
  /** Answers that take the model's own number of steps. */
  answersPerSecond: number
  gflops: number
  shareOfPeak: number
  floorMilliseconds: number
  timesFloor: number
}

const contextsOf = ({ checkpoint: { config } }: Subject): number[] => {
  if (config.template?.length !== undefined) return [0]
  const longest = config.context_length - config.answer.block
  return [...new Set(contexts.map((n) => Math.min(n, longest)))]
}

const pagesPerRow = (subject: Subject): number =>
  Math.ceil(
    (Math.max(...contextsOf(subject)) + subject.checkpoint.config.answer.block) / nativePageSize,
  )

async function openEngine(subject: Subject, name: string): Promise<EnergyEngine> {
  const capacity = {
    slots: maxBatch,
    contexts: maxBatch,
    pages: maxBatch * pagesPerRow(subject),
  }
  if (name.startsWith('tfjs:')) {
    const backend = await loadBackend(name.slice('tfjs:'.length) as BackendChoice, threads)
    return new TfjsEngine(
      subject.checkpoint,
      backend,
      { ...capacity, pageSize: nativePageSize },
      threads,
    )
  }
  const options = {
    capacity,
    threads,
    weights: numberTypeOf(name),
    cacheType,
    reason: 'benchmark',
  }
  return nativeEngine(subject.checkpoint, loadAddon(), options)
}

/** Extends the context of every row from `before` to `context` tokens. */
async function observe(
  engine: EnergyEngine,
  rows: number,
  before: number,
  context: number,
  perRow: number,
): Promise<void> {
  const { vocab_size: vocab } = engine.model
  for (let row = 0; row < rows; row++) {
    const pages = Array.from({ length: perRow }, (_, page) => row * perRow + page)
    const tokens = Array.from(
      { length: context - before },
      (_, i) => ((before + i) * 7919 + row) % vocab,
    )
    await engine.observe([{ contextId: row, tokens, pages }])
  }
}

/** Seconds of each step, of at least three, and the mean processor seconds of a step, of all threads. */
async function time(
  engine: EnergyEngine,
  subject: Subject,
  batch: number,
): Promise<{ times: number[]; processor: number }> {
  await engine.begin(
    Array.from({ length: batch }, (_, slot) => ({
      slot,
      contextId: Math.floor(slot / candidates),
      seed: slot,
      candidate: slot % candidates,
      ...(subject.givens && { clamped: subject.givens(slot) }),
    })),
  )
  let step = 0
  const descend = async (): Promise<void> => {
    const landscape = landscapeOf(engine.model, step)
    await engine.descend(
      Array.from({ length: batch }, (_, slot) => ({ slot, landscape, noise: 0, step })),
    )
    step++
  }
  for (const warm = performance.now() + 100 * seconds; step < 2 || performance.now() < warm;)
    await descend()
  const times: number[] = []
  const before = process.cpuUsage()
  const end = performance.now() + 1000 * seconds
  while (times.length < 3 || performance.now() < end) times.push(await timedUntilDone(descend))
  const { user, system } = process.cpuUsage(before)
  return { times: times.sort((a, b) => a - b), processor: (user + system) / 1e6 / times.length }
}

async function measure(
  engine: EnergyEngine,
  subject: Subject,
  limits: Limits,
  [context, batch]: [number, number],
): Promise<Line> {
  const { times, processor } = await time(engine, subject, batch)
  const { model, info } = engine
  const operations = operationsOf(model, context, batch, clampedOf(subject, batch))
  const cached = stepCost(model, context).cache * numberBytes[cacheType]
  const bytes = limits.stepBytes + Math.ceil(batch / candidates) * cached
  const floor = Math.max(bytes / limits.bytesPerSecond, operations / limits.flops)
  const typical = median(times)
  return {
    model: model.name,
    engine: `${info.name} ${info.backend}`,
    context,
    batch,
    milliseconds: 1000 * typical,
    least: 1000 * (times[0] as number),
    processor: 1000 * processor,
    stepsPerSecond: batch / typical,
    answersPerSecond: batch / typical / model.steps,
    gflops: operations / typical / 1e9,
    shareOfPeak: operations / typical / limits.flops,
    floorMilliseconds: 1000 * floor,
    timesFloor: typical / floor,
  }
}

const row = (cells: readonly string[]) =>
  `| ${cells.map((c, i) => (i < 2 ? c.padEnd(17) : c.padStart(8))).join(' | ')} |`
/** Prints a line and returns it. */
const print = (line: Line) => {
  const { milliseconds, least, processor, stepsPerSecond, answersPerSecond } = line
  const figures = [milliseconds, least, processor, stepsPerSecond, answersPerSecond]
  console.log(
    row([
      line.model,
      line.engine,
      String(line.context),
      String(line.batch),
      ...figures.map((x) => x.toPrecision(3)),
      `${(100 * line.shareOfPeak).toFixed(0)} %`,
      line.timesFloor.toFixed(2),
    ]),
  )
  return line
}

/** Measures peak and bandwidth at this moment, which a native float32 engine does. */
async function limitsOf(subject: Subject, engine: EnergyEngine): Promise<Limits> {
  if (engine instanceof NativeEngine) return engine.measure()
  const other = await openEngine(subject, 'f32')
  const limits = await limitsOf(subject, other)
  await other.close()
  return limits
}

async function measureAll(subject: Subject, name: string, lines: Line[]): Promise<void> {
  const engine = await openEngine(subject, name)
  const limits = await limitsOf(subject, engine)
  let before = 0
  for (const context of contextsOf(subject)) {
    const fits = (batch: number) =>
      engine instanceof NativeEngine || batch * context <= MAX_TFJS_POSITIONS
    await observe(engine, Math.max(...batches.filter(fits)), before, context, pagesPerRow(subject))
    before = context
    for (const batch of batches.filter(fits))
      lines.push(print(await measure(engine, subject, limits, [context, batch])))
  }
  await engine.close()
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
  `${describeMachine(machine)}, ${threads} engine thread(s), ${candidates} candidate(s) of a context\n` +
    'ms, least, cpu: of one step of the whole batch; of peak, x floor: against the limits below\n',
)
const heads = ['model', 'engine', 'context', 'batch', 'ms', 'least', 'cpu', 'steps/s', 'answers/s']
console.log(row([...heads, 'of peak', 'x floor']))
console.log(row([...heads, '', ''].map((_, i) => (i < 2 ? '---' : '---:'))))
const lines: Line[] = []
for (const name of listOf(flags.models)) {
  const subject = subjectOf(name)
  const { answer, steps } = subject.checkpoint.config
  for (const engine of listOf(flags.engines)) await measureAll(subject, engine, lines)
  console.log(`  ${name}: an answer of ${answer.block} position(s) takes ${steps} steps`)
}
if (flags.json !== '')
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, threads, candidates, limits: measured, lines }, null, 2)}\n`,
  )

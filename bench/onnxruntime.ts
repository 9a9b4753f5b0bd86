/**
 * How fast does the native engine descend beside ONNX Runtime? The step of a model, its gradient included, is written
 * as a graph (onnx/step-graph.ts) and run on the same inputs, with the same number of threads, in the same run.
 *
 * Before a model is timed, the graph's energies and next states are compared with those of the native engine in float32, without a
 * context. With a context, the graph attends to random keys and values: its time does not depend on them. The graph
 * computes every position; the engine leaves out what clamped positions make unnecessary. A run of a graph
 * that holds one addition tells what a call of ONNX Runtime costs by itself.
 */
import { writeFileSync } from 'node:fs'
import type { DescendRow, SynchronousEngine } from '../src/energy/engine.js'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize } from '../src/energy/native/options.js'
import { alphaOf, rowStepSize } from '../src/energy/step-size.js'
import { stateWidth } from '../src/model/config.js'
import { normals } from '../src/refine/random.js'
import './addon.js'
import { listOf, numberOf, numbersOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median } from './machine.js'
import { numberTypeOf, type Subject, subjectOf } from './models.js'
import { OnnxGraph } from './onnx/onnx-graph.js'
import {
  loadOnnxRuntime,
  type OnnxRuntime,
  RUNTIME_PACKAGE,
  type Session,
  type Tensor,
} from './onnx/runtime.js'
import { contextNames, stepGraph, whyNoGraph } from './onnx/step-graph.js'

const NAME = 'onnxruntime'
const flags = readFlags(
  NAME,
  'Times a descent step beside the same step as a graph of ONNX Runtime.',
  {
    models: { default: 'head-6-384-50277,stories,sudoku9', help: 'as those of steps' },
    weights: { default: 'f32', help: 'weight types of the native engine; the graph is float32' },
    batches: { default: '1,8,32,64', help: 'answers that descend together' },
    contexts: { default: '0', help: 'tokens before the answer' },
    threads: { default: '1,2', help: 'threads of both' },
    seconds: { default: '0.5', help: 'seconds of each measurement' },
    json: { default: '', help: 'also write the figures to this file' },
  },
)
const seconds = numberOf(NAME, 'seconds', flags.seconds)
const batches = numbersOf(NAME, 'batches', flags.batches, 1)
const contexts = numbersOf(NAME, 'contexts', flags.contexts)
const threadCounts = numbersOf(NAME, 'threads', flags.threads, 1)
const maxBatch = Math.max(...batches)
/** Relative difference of energies and states that float32 in another order explains. */
const TOLERANCE = 2e-3

interface Line {
  model: string
  weights: string
  threads: number
  context: number
  batch: number
  /** Medians of a step of the whole batch. */
  milliseconds: number
  peerMilliseconds: number
  timesAsFast: number
}

/** The numbers that both are given. */
class Inputs {
  /** [batch][K, W] */
  readonly states: Float32Array[]

  constructor(
    readonly subject: Subject,
    readonly batch: number,
  ) {
    const { config } = subject.checkpoint
    const width = config.answer.block * stateWidth(config)
    this.states = Array.from({ length: batch }, (_, row) => normals(7, row, 0, width))
  }

  /** The tensors of the graph. */
  tensors(runtime: OnnxRuntime, context: number): Record<string, Tensor> {
    const { config, tensors } = this.subject.checkpoint
    const { block, anchor } = config.answer
    const { dim, heads } = config
    const make = (data: Float32Array, ...dims: number[]) =>
      new runtime.Tensor('float32', data, dims)
    const alpha = rowStepSize(config, alphaOf(this.subject.checkpoint), { step: 0 })
    const given: Record<string, Tensor> = {
      state: make(joined(this.states), this.batch, block, stateWidth(config)),
      alpha: make(Float32Array.of(alpha)),
    }
    if (config.answer.space === 'latent' && block > 1) {
      const embeddings = tensors.get('embeddings.weight')?.data ?? new Float32Array()
      const queries = tensors.get('answer.query.weight')?.data ?? new Float32Array()
      const known = new Float32Array(this.batch * block * dim)
      const moving = new Float32Array(this.batch * block).fill(1)
      for (let row = 0; row < this.batch; row++)
        this.subject.givens?.(row).forEach((token, i) => {
          if (token < 0) return
          const at = row * block + i
          moving[at] = 0
          for (let j = 0; j < dim; j++)
            known[at * dim + j] =
              (embeddings[token * dim + j] as number) + (queries[i * dim + j] as number)
        })
      given['known'] = make(known, this.batch, block, dim)
      given['moving'] = make(moving, this.batch, block, 1)
    }
    if (anchor === true)
      given['anchor'] = make(new Float32Array(this.batch * block * dim), this.batch, block, dim)
    const width = dim / heads
    for (let layer = 0; layer < config.layers && context > 0; layer++) {
      const { keys, values } = contextNames(layer)
      const random = (seed: number) => normals(seed, layer, 0, this.batch * dim * context)
      given[keys] = make(random(8), this.batch, heads, width, context)
      given[values] = make(random(9), this.batch, heads, context, width)
    }
    return given
  }
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const runtime = loadOnnxRuntime()

const sessionOf = (graph: Uint8Array, threads: number): Promise<Session> =>
  runtime.InferenceSession.create(graph, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    logSeverityLevel: 3,
  })

/** The results of a graph, to be filled by its runs. */
function resultsOf({ subject, batch }: Inputs): Record<'next' | 'energy' | 'norm', Tensor> {
  const { config } = subject.checkpoint
  const make = (...dims: number[]) =>
    new runtime.Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims)
  return {
    next: make(batch, config.answer.block, stateWidth(config)),
    energy: make(batch),
    norm: make(batch),
  }
}

function openEngine(subject: Subject, weights: string, threads: number): SynchronousEngine {
  const pages = Math.ceil(
    (Math.max(...contextsOf(subject)) + subject.checkpoint.config.answer.block) / nativePageSize,
  )
  return nativeEngine(subject.checkpoint, loadAddon(), {
    capacity: { slots: maxBatch, contexts: maxBatch, pages: maxBatch * pages },
    threads,
    weights: numberTypeOf(weights),
    cacheType: 'f32',
    reason: 'benchmark',
  })
}

/** Begins the answers of `inputs`, each after a context of its own, and returns a function that takes a step. */
function startedEngine(engine: SynchronousEngine, inputs: Inputs, context: number) {
  const { vocab_size: vocab, answer } = engine.model
  const perRow = Math.ceil((context + answer.block) / nativePageSize)
  const { givens } = inputs.subject
  for (let row = 0; row < inputs.batch; row++) {
    engine.release(row)
    const pages = Array.from({ length: perRow }, (_, page) => row * perRow + page)
    const tokens = Array.from({ length: context }, (_, i) => (i * 7919 + row) % vocab)
    engine.observe([{ contextId: row, tokens, pages }])
    const start = inputs.states[row] as Float32Array
    engine.begin([
      {
        slot: row,
        contextId: row,
        seed: row,
        candidate: 0,
        start,
        ...(givens && { clamped: givens(row) }),
      },
    ])
  }
  let step = 0
  return () => {
    const rows = Array.from({ length: inputs.batch }, (_, slot): DescendRow => ({
      slot,
      landscape: 0,
      noise: 0,
      step,
    }))
    step++
    return engine.descend(rows)
  }
}

const farthest = (actual: ArrayLike<number>, expected: ArrayLike<number>): number => {
  let most = 0
  let scale = 0
  for (let i = 0; i < expected.length; i++) {
    most = Math.max(most, Math.abs((actual[i] as number) - (expected[i] as number)))
    scale = Math.max(scale, Math.abs(expected[i] as number))
  }
  return most / scale
}

/** Throws unless a step of the graph is that of the engine. */
async function checkGraph(subject: Subject, graph: Uint8Array): Promise<string> {
  const inputs = new Inputs(subject, Math.min(4, maxBatch))
  const engine = openEngine(subject, 'f32', 1)
  const energies = startedEngine(engine, inputs, 0)().map(({ energy }) => energy)
  const points = inputs.states.map((_, slot) => ({ slot, which: 'present' }) as const)
  const states = joined(engine.points(points))
  engine.close()
  const session = await sessionOf(graph, 1)
  const results = resultsOf(inputs)
  await session.run(inputs.tensors(runtime, 0), results)
  await session.release()
  const { block } = engine.model.answer
  const width = states.length / inputs.batch / block
  // The engine keeps a clamped position as it began; the graph does as well.
  const apart = [farthest(results.energy.data, energies), farthest(results.next.data, states)]
  const told = `energies apart by ${(apart[0] as number).toExponential(1)}, states [${block}, ${width}] by ${(apart[1] as number).toExponential(1)} of the largest`
  if (!apart.every((x) => x < TOLERANCE))
    throw new Error(`the graph computes another step than the engine: ${told}`)
  return told
}

/** Median milliseconds of `act`, which is called for at least the time and three times that is asked for. */
async function timeOf(act: () => unknown): Promise<number> {
  const times: number[] = []
  for (const warm = performance.now() + 200 * seconds; performance.now() < warm;) await act()
  const end = performance.now() + 1000 * seconds
  while (times.length < 3 || performance.now() < end) {
    const began = performance.now()
    await act()
    times.push(performance.now() - began)
  }
  return median(times)
}

const contextsOf = ({ checkpoint: { config } }: Subject): number[] => {
  if (config.template?.length !== undefined) return [0]
  const longest = config.context_length - config.answer.block
  return [...new Set(contexts.map((n) => Math.min(n, longest)))]
}

const row = (cells: readonly string[]): string =>
  `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(17) : cell.padStart(9))).join(' | ')} |`

async function measure(subject: Subject, threads: number, lines: Line[]): Promise<void> {
  for (const context of contextsOf(subject)) {
    const session = await sessionOf(stepGraph(subject.checkpoint, context), threads)
    const peers = new Map<number, number>()
    const times = async (batch: number) => {
      const inputs = new Inputs(subject, batch)
      const given = inputs.tensors(runtime, context)
      const results = resultsOf(inputs)
      // The next state is the next step's input: two buffers that take turns.
      const turns = [
        [given, results],
        [
          { ...given, state: results.next },
          { ...results, next: given['state'] as Tensor },
        ],
      ] as const
      let turn = 0
      return timeOf(() => {
        const [from, to] = turns[turn++ % 2] as (typeof turns)[number]
        return session.run(from, to)
      })
    }
    for (const batch of batches) peers.set(batch, await times(batch))
    await session.release()
    for (const weights of listOf(flags.weights)) {
      const engine = openEngine(subject, weights, threads)
      for (const batch of batches) {
        const milliseconds = await timeOf(
          startedEngine(engine, new Inputs(subject, batch), context),
        )
        const peerMilliseconds = peers.get(batch) as number
        const line = {
          model: subject.checkpoint.config.name,
          weights,
          threads,
          context,
          batch,
          milliseconds,
          peerMilliseconds,
          timesAsFast: peerMilliseconds / milliseconds,
        }
        lines.push(line)
        console.log(
          row([
            line.model,
            weights,
            ...[threads, context, batch].map(String),
            ...[milliseconds, peerMilliseconds, line.timesAsFast].map((x) => x.toPrecision(3)),
          ]),
        )
      }
      engine.close()
    }
  }
}

async function emptyCall(): Promise<number> {
  const graph = new OnnxGraph()
  const x = graph.input('x', [1])
  graph.output('y', graph.op('Add', [x, x]), [1])
  const session = await sessionOf(graph.bytes(), 1)
  const make = () => new runtime.Tensor('float32', new Float32Array(1), [1])
  const [given, results] = [{ x: make() }, { y: make() }]
  const milliseconds = await timeOf(() => session.run(given, results))
  await session.release()
  return milliseconds
}

const machine = measureMachine()
console.log(`${describeMachine(machine)}; ${RUNTIME_PACKAGE}, float32`)
console.log(`a call of ONNX Runtime without work takes ${(await emptyCall()).toPrecision(2)} ms`)
const lines: Line[] = []
const subjects = listOf(flags.models).map(subjectOf)
for (const subject of subjects) {
  const reason = whyNoGraph(subject.checkpoint)
  if (reason !== undefined)
    throw new Error(`${subject.checkpoint.config.name} has no graph: ${reason}`)
  console.log(
    `${subject.checkpoint.config.name}: ${await checkGraph(subject, stepGraph(subject.checkpoint, 0))}`,
  )
}
const heads = ['model', 'weights', 'threads', 'context', 'batch', 'ms', 'ORT ms', 'times']
console.log(`\n${row(heads)}\n${row(heads.map((_, i) => (i < 2 ? '---' : '---:')))}`)
for (const threads of threadCounts)
  for (const subject of subjects) await measure(subject, threads, lines)
if (flags.json !== '')
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, peer: RUNTIME_PACKAGE, lines }, null, 2)}\n`,
  )

/**
 * How fast is training, by backend? First matrix products of each backend, then updates of whole
 * objectives: seconds on the clock and of the processor (to which other work on the machine does not add),
 * operations of the matrix products alone, and their share of the peak of multiply-adds, which is measured
 * in the same run, by the clock and by the processor. All figures are medians. `--scale 8` takes an eighth
 * of the rows, to compare with a slow backend.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import {
  loadBackend,
  type BackendChoice,
  type Tensor,
  type Tf,
} from '../src/energy/tfjs/backend.js'
import { Network } from '../src/energy/tfjs/network.js'
import { openCheckpoint } from '../src/model/checkpoint.js'
import { parseConfig, readConfig, type ModelConfig } from '../src/model/config.js'
import { uniform } from '../src/refine/random.js'
import { batchOfExamples, batchOfWindows, type Batch } from '../src/train/data/training-batch.js'
import { initialWeights } from '../src/train/initial-weights.js'
import { equilibrium } from '../src/train/objectives/equilibrium.js'
import { inputsOf, type Objective } from '../src/train/objectives/objective.js'
import { optimize } from '../src/train/objectives/optimize.js'
import { stageOne } from '../src/train/objectives/recipe.js'
import { Optimizer } from '../src/train/optimizer.js'
import './addon.js'
import { listOf, numberOf, numbersOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median, timedWithProcessor } from './machine.js'
import { publishedAnswer, publishedEnergy } from './models.js'

const NAME = 'training'
const flags = readFlags(NAME, 'Times updates of training, beside the peak of the machine.', {
  backends: {
    default: 'native,wasm',
    help: 'TensorFlow.js backends: native, wasm, node, node-gpu',
  },
  threads: { default: '1', help: 'threads of the native and wasm backends' },
  cases: { default: 'sudoku6,stories,s1', help: 'cases to train' },
  updates: { default: '5', help: 'updates of each measurement' },
  scale: { default: '1', help: 'divides the rows of every case' },
  products: { default: '128,256,512,1024,2048', help: 'sizes of square matrix products' },
  json: { default: '', help: 'also write the figures to this file' },
})
const threads = numberOf(NAME, 'threads', flags.threads, 1)
const scale = numberOf(NAME, 'scale', flags.scale)
const updates = numberOf(NAME, 'updates', flags.updates, 1)
const sizes = numbersOf(NAME, 'products', flags.products, 1)
const root = fileURLToPath(new URL('../../', import.meta.url))

/** The number of rows of a case that has `rows` at full scale. */
const rowsOf = (rows: number): number => Math.max(1, Math.round(rows / scale))

/** Floating-point operations a second of this machine with these threads: the best of many short bursts. */
function peakFlops(): number {
  const engine = nativeEngine(openCheckpoint(`${root}models/sudoku6`), loadAddon(), {
    capacity: { slots: 1, contexts: 1, pages: 4 },
    threads,
    weights: 'f32',
    reason: 'benchmark',
  })
  const { flops } = engine.measure()
  engine.close()
  return flops
}

/** Share of the peak, in per cent: by the clock, and by processor time divided by the threads. */
const sharesOf = (operations: number, { wall, cpu }: { wall: number; cpu: number }) => ({
  share: (operations / wall / peak) * 100,
  shareOfProcessor: (operations / (cpu / threads) / peak) * 100,
})
const described = ({ share, shareOfProcessor }: ReturnType<typeof sharesOf>): string =>
  `share ${share.toFixed(0)} %, of the processor's time ${shareOfProcessor.toFixed(0)} %`

interface Case {
  config: ModelConfig
  batch: Batch
  objective: () => Objective
}

const tokens = (count: number, vocab: number): Int32Array =>
  Int32Array.from({ length: count }, (_, i) => Math.floor(uniform(1, 2, i) * vocab))

const windows = (config: ModelConfig, n: number, rows: number): Batch =>
  batchOfWindows(config, tokens(rows * (n + 1), config.vocab_size), rows)

const cases: Record<string, () => Case> = {
  /** 64 boards of 36 cells, half of them given. */
  sudoku6: () => {
    const config = readConfig(`${root}models/sudoku6`)
    const examples = Array.from({ length: rowsOf(64) }, () => {
      const answer = [...tokens(36, 6)]
      return { context: [6], answer, clamped: answer.map((token, i) => (i % 2 ? token : -1)) }
    })
    const batch = batchOfExamples(config, examples)
    return { config, batch, objective: () => equilibrium({ ...iterated }) }
  },
  stories: () => {
    const config = readConfig(`${root}models/stories`)
    const batch = windows(config, 192, rowsOf(20))
    return { config, batch, objective: () => equilibrium({ ...iterated }) }
  },
  /** The published recipe: 6 layers of width 256, 16 rows of 256 positions, 256 tokens. */
  s1: () => {
    const config = parseConfig(
      {
        ...readConfig(`${root}models/stories`),
        name: 's1',
        vocab_size: 256,
        layers: 6,
        ffn_dim: 1024,
        steps: 2,
        answer: publishedAnswer,
        energy: publishedEnergy,
      },
      's1',
    )
    const batch = windows(config, 256, rowsOf(16))
    return { config, batch, objective: () => optimize({ ...stageOne, steps: 2 }) }
  },
}
/** Two steps without gradient (random draws below are 0.5, half of the horizon), then two with a loss. */
const iterated = { horizon: 4, lossSteps: 2, noise: 0.1, replay: null }

/** Operations of the matrix products that `act` runs; a multiply-add is two. */
function countingProducts(tf: Tf, act: () => void): number {
  let operations = 0
  const backendName = tf.getBackend()
  const restore: (() => void)[] = []
  for (const kernelName of ['BatchMatMul', '_FusedMatMul']) {
    const config = tf.getKernel(kernelName, backendName)
    tf.unregisterKernel(kernelName, backendName)
    tf.registerKernel({
      ...config,
      kernelFunc: (call) => {
        const out = config.kernelFunc(call)
        const { a } = call.inputs
        const depth = a?.shape.at(call.attrs?.['transposeA'] ? -2 : -1) as number
        const { shape } = Array.isArray(out) ? (out[0] as { shape: number[] }) : out
        operations += 2 * depth * shape.reduce((x, y) => x * y, 1)
        return out
      },
    })
    restore.push(() => {
      tf.unregisterKernel(kernelName, backendName)
      tf.registerKernel(config)
    })
  }
  act()
  restore.forEach((undo) => {
    undo()
  })
  return operations
}

/** Starts the training of a case; each call of the result is one update. */
function trainingOf(tf: Tf, { config, batch, objective }: Case): () => number {
  const weights = new Map(
    [...initialWeights(config, 1, 0.5)].map(([name, t]) => [
      name,
      tf.variable(tf.tensor(t.data, [...t.shape])) as Tensor & { assign(value: Tensor): void },
    ]),
  )
  const network = new Network(tf, config, weights)
  const made = objective()
  const optimizer = new Optimizer(tf, {
    optimizer: 'adamw',
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.95,
    warmup: 10,
    updates: 1000,
    weightDecay: 0.01,
    clip: 1,
    alphaMultiplier: 3,
    muonStep: 0.2,
  })
  let done = 0
  return () => {
    tf.engine().startScope()
    const { value, gradients } = made.update(network, inputsOf(network, batch), () => 0.5)
    optimizer.apply(weights, gradients, done++)
    tf.engine().endScope()
    return value
  }
}

const machine = measureMachine()
const peak = peakFlops()
const results: object[] = []
console.log(describeMachine(machine))
console.log(
  `${threads} thread(s), rows / ${scale}, peak ${(peak / 1e9).toFixed(0)} GFLOP/s; shares are of that peak`,
)

for (const choice of listOf(flags.backends) as BackendChoice[]) {
  const { tf, name } = await loadBackend(choice, threads)
  for (const n of sizes) {
    const [a, b] = [tf.randomUniform([n, n], -1, 1), tf.randomUniform([n, n], -1, 1)]
    for (const [turnA, turnB] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      const runs = Math.max(5, Math.ceil(2e9 / (2 * n ** 3)))
      const times = Array.from({ length: runs }, () =>
        timedWithProcessor(() => {
          const product = tf.matMul(a, b, turnA, turnB)
          if (name !== 'native') product.dataSync()
          product.dispose()
        }),
      )
      const [wall, cpu] = [median(times.map((t) => t.wall)), median(times.map((t) => t.cpu))]
      const shares = sharesOf(2 * n ** 3, { wall, cpu })
      const kind = `${turnA ? 'T' : 'N'}${turnB ? 'T' : 'N'}`
      console.log(
        `${name.padEnd(10)} product ${String(n).padStart(5)} ${kind} ${(1000 * wall).toFixed(2).padStart(9)} ms ${((2 * n ** 3) / wall / 1e9).toFixed(0).padStart(5)} GFLOP/s, ${described(shares)}`,
      )
      results.push({ backend: name, threads, product: n, kind, wall, cpu, ...shares })
    }
    a.dispose()
    b.dispose()
  }
  for (const label of listOf(flags.cases)) {
    const make = cases[label]
    if (!make)
      throw new Error(`there is no case ${label}; there are ${Object.keys(cases).join(', ')}`)
    const made = make()
    const { config, batch } = made
    console.log(
      `${label}: ${batch.rows} rows of ${batch.answers * config.answer.block} positions, ` +
        `${batch.length} observed; ${made.objective().name}, ${config.steps} steps of the model`,
    )
    const update = trainingOf(tf, made)
    const operations = countingProducts(tf, update)
    const times = Array.from({ length: updates }, () => timedWithProcessor(update))
    const [wall, cpu] = [median(times.map((t) => t.wall)), median(times.map((t) => t.cpu))]
    const shares = sharesOf(operations, { wall, cpu })
    console.log(
      `${name.padEnd(10)} ${label.padEnd(8)} ${wall.toFixed(3).padStart(9)} s/update, ${(1 / wall).toFixed(3)} updates/s, processor ${cpu.toFixed(3)} s, ${(operations / 1e9).toFixed(0)} GFLOP, ${described(shares)}`,
    )
    results.push({
      backend: name,
      threads,
      case: label,
      scale,
      wall,
      cpu,
      operations,
      ...shares,
    })
  }
}
if (flags.json !== '')
  writeFileSync(flags.json, `${JSON.stringify({ machine, peak, results }, null, 2)}\n`)

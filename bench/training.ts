/**
 * How fast does a training run, by backend? First matrix products of the native backend beside the peak
 * of multiply-adds measured in the same run, then updates of whole objectives: seconds on the clock and
 * of the processor (which other work on the machine does not add to), operations of the matrix products
 * alone, and their share of the peak by the clock and by the processor. Medians.
 *
 *   npx tsc -p bench && node build/bench/training.js [--backends native,wasm,node] [--threads 1]
 *     [--cases sudoku6,stories,s1] [--updates 5] [--scale 1] [--products 128,512,2048] [--json file]
 * `--scale 8` has an eighth of the rows, where a slow backend is to be compared with.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
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
import { measureMachine } from './machine.js'

const { values: flags } = parseArgs({
  options: {
    backends: { type: 'string', default: 'native,wasm' },
    threads: { type: 'string', default: '1' },
    cases: { type: 'string', default: 'sudoku6,stories,s1' },
    updates: { type: 'string', default: '5' },
    scale: { type: 'string', default: '1' },
    products: { type: 'string', default: '128,256,512,1024,2048' },
    json: { type: 'string' },
  },
})
// Compiled for the benchmark, the backend stands elsewhere than its addon.
process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))

const list = (text: string): string[] => text.split(',').filter((word) => word !== '')
const threads = Number(flags.threads)
const root = fileURLToPath(new URL('../../', import.meta.url))

/** So many rows of a case at full scale. */
const rowsOf = (rows: number): number => Math.max(1, Math.round(rows / Number(flags.scale)))

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN

/** Seconds on the clock and of all the process's threads. */
function clocked(act: () => void): { wall: number; cpu: number } {
  const before = process.cpuUsage()
  const from = performance.now()
  act()
  const wall = (performance.now() - from) / 1000
  const { user, system } = process.cpuUsage(before)
  return { wall, cpu: (user + system) / 1e6 }
}

/** Multiply-adds a second that this machine does with so many threads, in short bursts, the best of many. */
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

/** Of the peak, in per cent: by the clock, and by the processor's time divided among the threads. */
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
  /** The published recipe on 6 layers of width 256, 16 rows of 256 positions, characters. */
  s1: () => {
    const config = parseConfig(
      {
        ...readConfig(`${root}models/stories`),
        name: 's1',
        vocab_size: 256,
        layers: 6,
        ffn_dim: 1024,
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
      },
      's1',
    )
    const batch = windows(config, 256, rowsOf(16))
    return { config, batch, objective: () => optimize({ ...stageOne, steps: 2 }) }
  },
}
/** Two steps without gradient, then two with a loss: the draw below is one half of the horizon. */
const iterated = { horizon: 4, lossSteps: 2, noise: 0.1, replay: null }

/** Operations of the matrix products that `act` runs, multiply and add counted apart. */
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

/** A training of a case: each call is one update. */
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
  let updates = 0
  return () => {
    tf.engine().startScope()
    const { value, gradients } = made.update(network, inputsOf(network, batch), () => 0.5)
    optimizer.apply(weights, gradients, updates++)
    tf.engine().endScope()
    return value
  }
}

const machine = measureMachine()
const peak = peakFlops()
const results: object[] = []
console.log(
  `${machine.cpu}, ${machine.cores} cores, load ${machine.load.toFixed(1)}, node ${machine.node}, commit ${machine.commit}`,
)
console.log(
  `${threads} threads, rows / ${flags.scale}, peak ${(peak / 1e9).toFixed(0)} GFLOP/s; shares: of that peak`,
)

for (const choice of list(flags.backends) as BackendChoice[]) {
  const { tf, name } = await loadBackend(choice, threads)
  for (const n of list(flags.products).map(Number)) {
    const [a, b] = [tf.randomUniform([n, n], -1, 1), tf.randomUniform([n, n], -1, 1)]
    for (const [turnA, turnB] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      const runs = Math.max(5, Math.ceil(2e9 / (2 * n ** 3)))
      const times = Array.from({ length: runs }, () =>
        clocked(() => {
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
  for (const label of list(flags.cases)) {
    const update = trainingOf(tf, (cases[label] as () => Case)())
    const operations = countingProducts(tf, update)
    const times = Array.from({ length: Number(flags.updates) }, () => clocked(update))
    const [wall, cpu] = [median(times.map((t) => t.wall)), median(times.map((t) => t.cpu))]
    const shares = sharesOf(operations, { wall, cpu })
    console.log(
      `${name.padEnd(10)} ${label.padEnd(8)} ${wall.toFixed(3).padStart(9)} s/update, ${(1 / wall).toFixed(3)} updates/s, processor ${cpu.toFixed(3)} s, ${(operations / 1e9).toFixed(0)} GFLOP, ${described(shares)}`,
    )
    results.push({
      backend: name,
      threads,
      case: label,
      scale: Number(flags.scale),
      wall,
      cpu,
      operations,
      ...shares,
    })
  }
}
if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ machine, peak, results }, null, 2)}\n`)

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
import { loadBackend, type BackendChoice, type Tf } from '../src/energy/tfjs/backend.js'
import { openCheckpoint } from '../src/model/checkpoint.js'
import './addon.js'
import { listOf, numberOf, numbersOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median, timedWithProcessor } from './machine.js'
import { trainingCase, trainingOf } from './training-cases.js'

const NAME = 'training'
const flags = readFlags(NAME, 'Times updates of training, beside the peak of the machine.', {
  backends: {
    default: 'native,wasm',
    help: 'TensorFlow.js backends: native, wasm, webgpu, node, node-gpu',
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

/** Floating-point operations a second of this machine with these threads: the best of many short bursts. */
function peakFlops(): number {
  const engine = nativeEngine(openCheckpoint(`${root}models/sudoku6`), loadAddon(), {
    capacity: { slots: 1, contexts: 1, pages: 4 },
    threads,
    weights: 'f32',
    cacheType: 'f32',
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

/** Operations of the matrix products that `act` runs; a multiply-add is two. */
async function countingProducts(tf: Tf, act: () => Promise<unknown>): Promise<number> {
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
  await act()
  restore.forEach((undo) => {
    undo()
  })
  return operations
}

async function timesOf(
  runs: number,
  act: () => Promise<void>,
): Promise<{ wall: number; cpu: number }[]> {
  const times: { wall: number; cpu: number }[] = []
  while (times.length < runs) times.push(await timedWithProcessor(act))
  return times
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
      const times = await timesOf(runs, async () => {
        const product = tf.matMul(a, b, turnA, turnB)
        if (name !== 'native') await product.data()
        product.dispose()
      })
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
    const made = trainingCase(label, scale)
    const { config, batch } = made
    console.log(
      `${label}: ${batch.rows} rows of ${batch.answers * config.answer.block} positions, ` +
        `${batch.length} observed; ${made.objective().name}, ${config.steps} steps of the model`,
    )
    const { update, dispose } = trainingOf(tf, made)
    const operations = await countingProducts(tf, update)
    const times = await timesOf(updates, update)
    dispose()
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

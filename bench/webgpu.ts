/**
 * How fast does the WebGPU engine descend on this machine's GPU, how far from what the GPU allows, and how fast
 * does `basin train --backend webgpu` train? For each model and batch: the time of one step of the whole batch,
 * beside the native engine on this machine's cores, the floor that follows from the GPU's peak multiply-adds and
 * bandwidth, and what its dispatches alone would take. All of it is measured in the same run.
 *
 *   npx tsc -p bench; node build/bench/webgpu.js [--models sudoku9,stories,head-6-384-50277,head-12-768-50277]
 *     [--batches 1,8,64,256,1024] [--native 64] [--threads 2] [--seconds 1] [--steps 64]
 *     [--trainings sudoku6,stories,s1] [--updates 5] [--rows 1,8] [--native-rows 1] [--scale 1] [--json file]
 *
 * Prints the tables of docs/webgpu.md. `--native`: the largest batch that the native engine is timed at; 0
 * leaves it out. Contexts are empty, and a puzzle's givens are clamped. A step of the native engine is
 * one call; the WebGPU engine gets `--steps` of them at once. Trainings are those of bench/training-cases.ts,
 * beside the native backend, each with `--rows` times its rows; `--scale 8` takes an eighth of all of them. The
 * native backend is timed up to `--native-rows` times the rows, and 0 leaves it out; above once, for its first
 * update alone, since that takes long. Dispatches are those of an update, and CPU ms what the process computes for
 * it, on all of its threads.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stepCost } from '../src/energy/cost.js'
import type { DescendRow, EnergyEngine } from '../src/energy/engine.js'
import { modelIdentity } from '../src/energy/model-identity.js'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { type BackendChoice, loadBackend } from '../src/energy/tfjs/backend.js'
import { Device } from '../src/energy/webgpu/device.js'
import { WebgpuEngine } from '../src/energy/webgpu/engine.js'
import { nodeAdapter } from '../src/energy/webgpu/node.js'
import { landscapeOf } from '../src/model/config.js'
import { listOf } from './command.js'
import { type DeviceLimits, measureDevice } from './gpu.js'
import { measureMachine, median, timedUntilDone } from './machine.js'
import { clampedOf, operationsOf, type Subject, subjectOf } from './models.js'
import { trainingCase, trainingOf, type TrainingCase } from './training-cases.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'sudoku9,stories,head-6-384-50277,head-12-768-50277' },
    batches: { type: 'string', default: '1,8,64,256,1024' },
    native: { type: 'string', default: '64' },
    threads: { type: 'string', default: String(availableParallelism()) },
    seconds: { type: 'string', default: '1' },
    steps: { type: 'string', default: '64' },
    trainings: { type: 'string', default: 'sudoku6,stories,s1' },
    updates: { type: 'string', default: '5' },
    rows: { type: 'string', default: '1,8' },
    'native-rows': { type: 'string', default: '1' },
    scale: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
})
// Compiled for the benchmark, the engine stands elsewhere than its addon.
process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))

const batches = listOf(flags.batches).map(Number)
/** Steps of one call to the WebGPU engine. */
const together = Number(flags.steps)

interface Line {
  model: string
  batch: number
  /** Of one step of the whole batch. */
  milliseconds: number
  stepsPerSecond: number
  native?: number
  shareOfPeak: number
  timesFloor: number
  /** What the dispatches of a step would take if they did nothing. */
  launchMilliseconds: number
}

/** Median milliseconds of a step of `batch` answers, `rounds` steps to a call. */
async function timeSteps(
  engine: EnergyEngine,
  subject: Subject,
  batch: number,
  rounds: number,
): Promise<number> {
  await engine.begin(
    Array.from({ length: batch }, (_, slot) => ({
      slot,
      contextId: slot,
      seed: slot,
      candidate: 0,
      ...(subject.givens && { clamped: subject.givens(slot) }),
    })),
  )
  let step = 0
  const call = async (): Promise<number> => {
    const rows = Array.from({ length: rounds }, (): DescendRow[] => {
      const landscape = landscapeOf(engine.model, step)
      const round = Array.from({ length: batch }, (_, slot) => ({
        slot,
        landscape,
        noise: 0,
        step,
      }))
      step++
      return round
    }).flat()
    const began = performance.now()
    await engine.descend(rows)
    return (performance.now() - began) / rounds
  }
  const seconds = Number(flags.seconds)
  await call()
  for (const warm = performance.now() + 300 * seconds; performance.now() < warm;) await call()
  const times: number[] = []
  const end = performance.now() + 1000 * seconds
  while (times.length < 3 || performance.now() < end) times.push(await call())
  return times.sort((a, b) => a - b)[times.length >> 1] as number
}

async function nativeTimes(subject: Subject): Promise<Map<number, number>> {
  const times = new Map<number, number>()
  const chosen = batches.filter((batch) => batch <= Number(flags.native))
  if (chosen.length === 0) return times
  const most = Math.max(...chosen)
  const engine = nativeEngine(subject.checkpoint, loadAddon(), {
    capacity: { slots: most, contexts: most, pages: most },
    threads: Number(flags.threads),
    weights: 'f32',
    cacheType: 'f32',
    reason: 'benchmark',
  })
  for (const batch of chosen) times.set(batch, await timeSteps(engine, subject, batch, 1))
  engine.close()
  return times
}

async function measure(device: Device, limits: DeviceLimits, name: string): Promise<Line[]> {
  const subject = subjectOf(name)
  const native = await nativeTimes(subject)
  const most = Math.max(...batches)
  const capacity = { slots: most, contexts: most, pages: most }
  const engine = await WebgpuEngine.open(subject.checkpoint, device, {
    capacity,
    reason: 'benchmark',
    identity: modelIdentity(subject.checkpoint, 'f32'),
  })
  const lines: Line[] = []
  for (const batch of batches) {
    const milliseconds = await timeSteps(engine, subject, batch, together)
    const { model } = engine
    const operations = operationsOf(model, 0, batch, clampedOf(subject, batch))
    const bytes = 4 * stepCost(model, 0).weights
    const floor = 1000 * Math.max(bytes / limits.bytesPerSecond, operations / limits.flops)
    const cpu = native.get(batch)
    lines.push({
      model: model.name,
      batch,
      milliseconds,
      stepsPerSecond: (1000 * batch) / milliseconds,
      ...(cpu !== undefined && { native: cpu }),
      shareOfPeak: operations / (milliseconds / 1000) / limits.flops,
      timesFloor: milliseconds / floor,
      launchMilliseconds: engine.dispatchesOfStep * limits.dispatchMilliseconds,
    })
    tell(lines.at(-1) as Line)
  }
  console.log(`  ${engine.dispatchesOfStep} dispatches a step`)
  await engine.close()
  return lines
}

interface TrainingLine {
  training: string
  rows: number
  updatesPerSecond: number
  native?: number
  /** Of one update. */
  dispatches: number
  cpuMilliseconds: number
}

type TrainingTimes = Pick<TrainingLine, 'updatesPerSecond' | 'dispatches' | 'cpuMilliseconds'>

/** Median updates a second, after `first` that compile the kernels. */
async function timeTraining(
  choice: BackendChoice,
  training: TrainingCase,
  { first, updates }: { first: number; updates: number },
): Promise<TrainingTimes> {
  const { dispatches = () => 0, tf } = await loadBackend(choice, Number(flags.threads))
  const { update, dispose } = trainingOf(tf, training)
  for (let i = 0; i < first; i++) await update()
  const before = { dispatches: dispatches(), cpu: process.cpuUsage() }
  const times: number[] = []
  while (times.length < updates) times.push(await timedUntilDone(update))
  const cpu = process.cpuUsage(before.cpu)
  dispose()
  return {
    updatesPerSecond: 1 / median(times),
    dispatches: (dispatches() - before.dispatches) / updates,
    cpuMilliseconds: (cpu.user + cpu.system) / 1000 / updates,
  }
}

async function measureTraining(training: string, times: number): Promise<TrainingLine> {
  const made = trainingCase(training, Number(flags.scale) / times)
  const often = { first: 1, updates: Number(flags.updates) }
  const native =
    times <= Number(flags['native-rows'])
      ? await timeTraining('native', made, times > 1 ? { first: 0, updates: 1 } : often)
      : undefined
  const found = await timeTraining('webgpu', made, often)
  const line: TrainingLine = {
    training,
    rows: made.batch.rows,
    ...found,
    ...(native && { native: native.updatesPerSecond }),
  }
  const { cpuMilliseconds, dispatches, updatesPerSecond } = line
  console.log(
    row([
      training,
      String(line.rows),
      figure(updatesPerSecond),
      ...(native
        ? [native.updatesPerSecond, updatesPerSecond / native.updatesPerSecond].map(figure)
        : ['', '']),
      dispatches.toFixed(0),
      figure(cpuMilliseconds),
    ]),
  )
  return line
}

const figure = (x: number): string => (x < 1000 ? x.toPrecision(3) : x.toFixed(0))

const row = (cells: readonly string[]): string =>
  `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(17) : cell.padStart(9))).join(' | ')} |`

function tell(line: Line): void {
  const { launchMilliseconds, milliseconds, native, stepsPerSecond } = line
  console.log(
    row([
      line.model,
      String(line.batch),
      figure(milliseconds),
      figure(stepsPerSecond),
      ...(native === undefined ? ['', ''] : [figure(native), figure(native / milliseconds)]),
      `${(100 * line.shareOfPeak).toFixed(0)} %`,
      figure(line.timesFloor),
      figure(launchMilliseconds),
    ]),
  )
}

const adapter = await nodeAdapter()
if ('missing' in adapter) throw new Error(adapter.missing)
const device = await Device.open(adapter)
device.enter()
const { name: gpuName } = adapter
const machine = measureMachine()
const limits = await measureDevice(device)
console.log(
  `${adapter.name}${adapter.software ? ' (software: times mean nothing)' : ''}; ${machine.cpu}, ` +
    `${machine.cores} cores, ${flags.threads} thread(s), load ${machine.load.toFixed(1)}, Node ` +
    `${machine.node}, commit ${machine.commit}\n${(limits.flops / 1e9).toFixed(0)} GFLOP/s, ` +
    `${(limits.bytesPerSecond / 1e9).toFixed(0)} GB/s, ${(1000 * limits.dispatchMilliseconds).toFixed(1)} us a dispatch\n`,
)
console.log(
  row([
    'model',
    'batch',
    'ms a step',
    'steps/s',
    'native ms',
    'times',
    'of peak',
    'x floor',
    'launch ms',
  ]),
)
console.log(row(['---', ...Array.from({ length: 8 }, () => '---:')]))
const lines: Line[] = []
const trainings: TrainingLine[] = []

/** After each part, so that a machine that is lent for minutes leaves what it has measured. */
function save(): void {
  if (flags.json === undefined) return
  const measured = { adapter: gpuName, machine, limits, lines, trainings }
  writeFileSync(flags.json, `${JSON.stringify(measured, null, 2)}\n`)
}

/** What one part cannot do, such as a batch for which the GPU has no memory, does not end the others. */
async function part(name: string, measured: () => Promise<void>): Promise<void> {
  try {
    await measured()
  } catch (error) {
    process.exitCode = 1
    console.log(`${name} failed: ${error instanceof Error ? error.message : String(error)}`)
  }
  save()
}

for (const model of listOf(flags.models))
  await part(model, async () => {
    lines.push(...(await measure(device, limits, model)))
  })
await device.leave()
console.log()
console.log(row(['training', 'rows', 'updates/s', 'native', 'times', 'dispatches', 'CPU ms']))
console.log(row(['---', ...Array.from({ length: 6 }, () => '---:')]))
for (const label of listOf(flags.trainings))
  for (const times of listOf(flags.rows).map(Number))
    await part(`${label}, ${times} times the rows,`, async () => {
      trainings.push(await measureTraining(label, times))
    })

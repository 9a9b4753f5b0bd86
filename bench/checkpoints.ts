/**
 * What does a checkpoint of an answer in the background cost? Starts the real server on a folder of its own,
 * lets answers without a limit descend in it, and compares what a checkpoint took of the engine with what a step
 * takes; both are the server's own metrics. The share is that of the time between two checkpoints at the default
 * interval. The time of the store is not in it: its thread is another one.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CHECKPOINT_SECONDS } from '../src/server/limits.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { defaultThreads, readMetrics, shippedModels, startServer } from './server.js'

const NAME = 'checkpoints'
const flags = readFlags(NAME, 'Compares the time of a checkpoint with that of a step.', {
  models: { default: shippedModels, help: 'directory of the models' },
  seconds: { default: '20', help: 'seconds of each measurement' },
  threads: { default: defaultThreads, help: 'threads of the engine' },
})
const { models, threads } = flags
const seconds = numberOf(NAME, 'seconds', flags.seconds, 2)

const puzzle = '_4______6__1_5__2___45____1__63_____'
const endless = { max_steps: null, tolerance: 0, noise: 0.1 }
const answers: [string, string, object][] = [
  ['a text', 'stories', { input: 'Once upon a time', refinement: endless }],
  ['a board', 'sudoku6', { template: puzzle, refinement: endless }],
  [
    'a board, eight descents at a time',
    'sudoku6',
    {
      template: puzzle,
      refinement: { ...endless, candidates: 8, energy_target: -1, restarts: { after: 64 } },
    },
  ],
]

/** Removed when the servers are gone. */
const folders: string[] = []
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const wait = (time: number) => new Promise((resolve) => setTimeout(resolve, time * 1000))

async function measure(name: string, model: string, body: object): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'basin-bench-'))
  const { stop, url } = await startServer({
    models,
    model,
    threads,
    'log-level': 'warn',
    'data-dir': data,
    'checkpoint-seconds': '1',
    'drain-seconds': '0',
  })
  const reply = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, background: true, ...body }),
  })
  if (!reply.ok) throw new Error(await reply.text())
  await wait(seconds)
  const sum = await readMetrics(url)
  const count = sum('basin_checkpoint_duration_seconds_count')
  const took = sum('basin_checkpoint_duration_seconds_sum') / count
  const bytes = sum('basin_checkpoint_bytes_total') / count
  const step = sum('basin_step_duration_seconds_sum') / sum('basin_step_duration_seconds_count')
  console.log(
    `${name} (${model}): ${count} checkpoints of ${(bytes / 1024).toFixed(1)} KiB, ` +
      `${(1e6 * took).toFixed(0)} us of the engine each, or ${(took / step).toFixed(2)} steps of ` +
      `${(1e6 * step).toFixed(0)} us; ` +
      `${((100 * took) / CHECKPOINT_SECONDS).toFixed(4)} % of ${CHECKPOINT_SECONDS} s`,
  )
  stop()
  folders.push(data)
}

console.log(describeMachine(measureMachine()))
for (const [name, model, body] of answers) await measure(name, model, body)

/**
 * The worker's entry with V8's precise coverage around it: request-path.mjs starts it in place of
 * dist/generation/core/worker.js and asks over a broadcast channel which functions were called.
 */
import { Session } from 'node:inspector/promises'
import { BroadcastChannel } from 'node:worker_threads'

const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })

const channel = new BroadcastChannel('basin-request-path')
channel.onmessage = async ({ data }) => {
  if (data !== 'take') return
  const { result } = await session.post('Profiler.takePreciseCoverage')
  channel.postMessage(result)
}
channel.unref()

await import('../../dist/generation/core/worker.js')

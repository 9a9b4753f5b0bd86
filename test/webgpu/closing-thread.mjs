/**
 * A thread that descends without end on the built engine and, on a message, closes the engine in the
 * middle of it, as a server's worker does. What it says last is how its descent ended. On the message
 * `lose` it loses its device instead, as when a driver is reset.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { globals } from 'webgpu'

let device
const { requestDevice } = globals.GPUAdapter.prototype
globals.GPUAdapter.prototype.requestDevice = async function (wanted) {
  return (device = await requestDevice.call(this, wanted))
}

const { directory, root } = workerData
const { openEngine } = await import(`${root}/dist/energy/open-engine.js`)
const engine = await openEngine({
  directory,
  engine: 'webgpu',
  threads: 1,
  slots: 2,
  contexts: 2,
  pages: 8,
})
const closing = new Promise((resolve) => parentPort.once('message', resolve))
const descending = (async () => {
  await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
  for (let step = 0; ; step += 8) {
    await engine.descend(
      Array.from({ length: 8 }, (_, i) => ({ slot: 0, landscape: 0, noise: 0, step: step + i })),
    )
    if (step === 0) parentPort.postMessage('descends')
  }
})()
const ended = descending.catch((error) => error)
if ((await closing) === 'lose') device.destroy()
else await engine.close()
parentPort.postMessage((await ended).message)

/**
 * A worker of a browser's tab: fetches a model, opens the engine on it, and on a message settles one
 * answer with the stop rules of src/refine, asking nobody any more.
 */
import { openInBrowser } from '/dist/energy/webgpu/browser.js'
import { planStep } from '/dist/refine/budget.js'
import { resolveBudget } from '/dist/refine/presets.js'
import { advance, beforeFirstStep, decide } from '/dist/refine/stop.js'

const caps = { maxSteps: 4096, maxSeconds: 600, candidates: 1 }

async function open(name) {
  const file = async (path) => await fetch(`/models/${name}/${path}`)
  const config = await (await file('config.json')).json()
  const weights = await (await file('model.safetensors')).arrayBuffer()
  const capacity = { slots: 1, contexts: 1, pages: 1 }
  return await openInBrowser(navigator.gpu, { config, weights }, capacity)
}

async function settle(engine, clamped) {
  const budget = resolveBudget(engine.model, 'high', undefined, caps)
  await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0, clamped }])
  let progress = beforeFirstStep
  for (let reason; !reason;) {
    const plan = planStep(budget, progress.steps, engine.model.landscapes)
    const [result] = await engine.descend([{ slot: 0, step: progress.steps, ...plan }])
    progress = advance(progress, result, budget)
    reason = decide(budget, progress, 0)
  }
  const [reading] = await engine.read([{ slot: 0, which: 'best', top: 1 }])
  return { tokens: [...reading.tokens], steps: progress.steps, energy: progress.best }
}

const opened = open(new URL(location.href).searchParams.get('model'))
opened.then(
  ({ info }) => postMessage({ opened: info }),
  (error) => postMessage({ failed: error.message }),
)
onmessage = async ({ data: clamped }) => {
  const engine = await opened
  try {
    postMessage({ settled: await settle(engine, clamped) })
  } catch (error) {
    postMessage({ failed: error.message })
  }
  await engine.close()
}

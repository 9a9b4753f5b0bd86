/**
 * A worker of a browser's tab: opens the built engine on fetched weights, begins an answer after each token
 * from given logits, and tells the energies and the logits of every step.
 */
import { openInBrowser } from '/dist/energy/webgpu/browser.js'
import { landscapeOf } from '/dist/model/derived.js'

/** Pages of one context, which the contexts of golden data fit. */
const PAGES = 2

async function descend({ config, folder, starts, tokens }) {
  const weights = await (await fetch(`${folder}/model.safetensors`)).arrayBuffer()
  const slots = tokens.length
  const capacity = { slots, contexts: slots, pages: slots * PAGES }
  const engine = await openInBrowser(navigator.gpu, { config, weights }, capacity)
  for (const slot of tokens.keys()) {
    const pages = [slot * PAGES, slot * PAGES + 1]
    engine.observe([{ contextId: slot, tokens: tokens.slice(0, slot + 1), pages }])
    const start = Float32Array.from(starts[slot])
    engine.begin([{ slot, contextId: slot, seed: 0, candidate: 0, start }])
  }
  const steps = []
  for (let step = 0; step < config.steps; step++) {
    const landscape = landscapeOf(config, step)
    const results = await engine.descend(
      tokens.map((_, slot) => ({ slot, landscape, noise: 0, step })),
    )
    const read = await engine.read(tokens.map((_, slot) => ({ slot, which: 'last', top: 'all' })))
    steps.push({
      energies: results.map(({ energy }) => energy),
      logits: read.flatMap(({ logits }) => [...logits]),
    })
  }
  const { backend, name } = engine.info
  await engine.close()
  return { engine: name, adapter: backend, steps }
}

onmessage = ({ data }) => {
  descend(data).then(
    (result) => postMessage(result),
    (error) => postMessage({ failed: error.message }),
  )
}

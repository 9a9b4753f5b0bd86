// Steps do not leak: takes many steps with answers that begin, settle and go, and compares resident
// memory after a tenth of them with resident memory at the end.
//   npm run build && node bench/native-memory.mjs [steps, 100000]
import { loadAddon } from '../dist/energy/native/addon.js'
import { nativeEngine } from '../dist/energy/native/engine.js'
import { parseConfig } from '../dist/model/config.js'
import { initialWeights } from '../dist/train/initial-weights.js'

const steps = Number(process.argv[2] ?? 100000)
const allowed = 16e6
const config = parseConfig(
  {
    format: 'basin-ebt/1',
    name: 'leak',
    description: 'random weights',
    created: 0,
    vocab_size: 300,
    dim: 64,
    layers: 2,
    heads: 4,
    ffn_dim: 96,
    context_length: 128,
    norm_eps: 1e-5,
    rope_theta: 10000,
    conditioning: 'none',
    landscapes: 1,
    steps: 4,
    answer: {
      space: 'vocab',
      block: 1,
      start: 'noise',
      start_scale: 1,
      normalize: 'every_step',
      embed: 'embeddings',
    },
    energy: { kind: 'head', direction: 'exact', doubt: 0 },
  },
  'leak',
)
const engine = nativeEngine({ config, tensors: initialWeights(config, 1, 0.5) }, loadAddon(), {
  capacity: { slots: 8, contexts: 8, pages: 64 },
  threads: 2,
  weights: 'f32',
  reason: 'memory test',
})
const slots = Array.from({ length: 8 }, (_, i) => i)
const resident = () => {
  globalThis.gc?.()
  return process.memoryUsage().rss
}
let early = 0
for (let step = 0; step < steps; step++) {
  if (step % 50 === 0)
    for (const contextId of slots) {
      engine.release(contextId)
      const pages = Array.from({ length: 8 }, (_, i) => contextId * 8 + i)
      engine.observe([{ contextId, tokens: Array.from({ length: 100 }, (_, i) => i), pages }])
      engine.begin([{ slot: contextId, contextId, seed: step, candidate: 0 }])
    }
  engine.descend(slots.map((slot) => ({ slot, landscape: 0, noise: 0.01, step: step % 50 })))
  if (step % 10 === 9) engine.read(slots.map((slot) => ({ slot, which: 'best', top: 5 })))
  if (step === Math.floor(steps / 10)) early = resident()
}
const late = resident()
console.log(
  `${steps} steps: resident ${(early / 1e6).toFixed(1)} MB after a tenth, ${(late / 1e6).toFixed(1)} MB at the end`,
)
engine.close()
if (late - early > allowed) {
  console.error(`grew by more than ${allowed / 1e6} MB`)
  process.exit(1)
}

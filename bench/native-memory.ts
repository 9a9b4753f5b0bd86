/**
 * Does the native engine leak? Takes many steps with answers that begin, settle and go, and compares
 * resident memory after a tenth of them with resident memory at the end. Fails if it grew by more than
 * 16 MB. Run with node --expose-gc to leave garbage out of the comparison.
 */
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { parseConfig } from '../src/model/config.js'
import { initialWeights } from '../src/train/initial-weights.js'
import './addon.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine } from './machine.js'
import { published, publishedAnswer } from './models.js'

const NAME = 'native-memory'
const flags = readFlags(NAME, 'Takes many steps and compares resident memory early and late.', {
  steps: { default: '100000', help: 'number of steps' },
  threads: { default: '2', help: 'threads of the engine' },
})
const steps = numberOf(NAME, 'steps', flags.steps, 10)
const threads = numberOf(NAME, 'threads', flags.threads, 1)
const BATCH = 8
const CONTEXT = 100
const STEPS_PER_ANSWER = 50
const MAX_GROWTH_BYTES = 16e6

const config = parseConfig(
  {
    ...published,
    name: 'leak',
    vocab_size: 300,
    dim: 64,
    layers: 2,
    heads: 4,
    ffn_dim: 96,
    context_length: 128,
    steps: 4,
    answer: { ...publishedAnswer, embed: 'embeddings' },
  },
  'bench',
)
const engine = nativeEngine({ config, tensors: initialWeights(config, 1, 0.5) }, loadAddon(), {
  capacity: { slots: BATCH, contexts: BATCH, pages: 8 * BATCH },
  threads,
  weights: 'f32',
  cacheType: 'f32',
  reason: 'benchmark',
})
const slots = Array.from({ length: BATCH }, (_, i) => i)

function resident(): number {
  globalThis.gc?.()
  return process.memoryUsage().rss
}

const machine = measureMachine()
console.log(describeMachine(machine))
console.log(
  `${config.layers} layers of ${config.dim}, ${threads} thread(s), batch ${BATCH}, context ${CONTEXT}, ` +
    `${STEPS_PER_ANSWER} steps an answer`,
)
let early = 0
for (let step = 0; step < steps; step++) {
  if (step % STEPS_PER_ANSWER === 0)
    for (const contextId of slots) {
      engine.release(contextId)
      const pages = Array.from({ length: 8 }, (_, i) => contextId * 8 + i)
      const tokens = Array.from({ length: CONTEXT }, (_, i) => i)
      engine.observe([{ contextId, tokens, pages }])
      engine.begin([{ slot: contextId, contextId, seed: step, candidate: 0 }])
    }
  engine.descend(
    slots.map((slot) => ({ slot, landscape: 0, noise: 0.01, step: step % STEPS_PER_ANSWER })),
  )
  if (step % 10 === 9) engine.read(slots.map((slot) => ({ slot, which: 'best', top: 5 })))
  if (step === Math.floor(steps / 10)) early = resident()
}
const late = resident()
console.log(
  `${steps} steps: resident ${(early / 1e6).toFixed(1)} MB after a tenth, ` +
    `${(late / 1e6).toFixed(1)} MB at the end, ${(late / early).toFixed(3)} times as much`,
)
engine.close()
if (late - early > MAX_GROWTH_BYTES) {
  console.error(`it grew by more than ${MAX_GROWTH_BYTES / 1e6} MB`)
  process.exitCode = 1
}

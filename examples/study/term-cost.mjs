/**
 * What terms add to the time of a step, as CPU time of this process, so that other work on the machine does
 * not count:
 *
 *     npm run build && node examples/study/term-cost.mjs MODEL [TERMS [CANDIDATES [STEPS]]]
 *
 * The same request runs with and without terms in turn: compare, sum and distinct over the positions of the
 * model's example. Told is the CPU time of a step of one candidate, the least of the rounds.
 */
import { readFileSync } from 'node:fs'
import { openEngine } from '../../dist/energy/open-engine.js'
import { EngineCore } from '../../dist/generation/core/engine-core.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'

const [directory, terms = '16', candidates = '8', steps = '64'] = process.argv.slice(2)
const ROUNDS = 20
const { template } = JSON.parse(readFileSync(`${directory}/config.json`, 'utf8'))
const tokenizer = openTokenizer(directory)
const engine = await openEngine({
  directory,
  engine: 'auto',
  threads: 1,
  slots: Number(candidates),
  contexts: Number(candidates),
  pages: 64,
})
const core = new EngineCore(engine, tokenizer, {
  prefillChunk: 64,
  holdSeconds: 0,
  pauseSeconds: 0,
})

const kinds = [
  (at) => ({ type: 'compare', less: at, than: at + 1 }),
  (at) => ({ type: 'sum', positions: [at, at + 1, at + 2], equals: 9 }),
  (at) => ({ type: 'distinct', positions: [[at, at + 1, at + 2, at + 3, at + 4, at + 5]] }),
]
const added = Array.from({ length: Number(terms) }, (_, i) => ({
  ...kinds[i % kinds.length](i),
  weight: 20,
  required: true,
}))

/** Microseconds of CPU time for each step of a candidate. */
async function cost(id, asked) {
  core.submit({
    id,
    client: 'study',
    prompt: '',
    template: template.example,
    maxTokens: 1,
    sampling: {
      temperature: 0,
      topP: 1,
      topK: 0,
      seed: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: {},
    },
    stop: [],
    budget: {
      maxSteps: Number(steps),
      minSteps: 0,
      patience: 3,
      candidates: Number(candidates),
      select: 'min',
      noise: 1,
      noiseSteps: 1,
      keep: 'best',
      acceptLower: false,
    },
    // Each step is a call of its own either way.
    reportSteps: true,
    hold: false,
    ...(asked.length > 0 && { terms: asked }),
  })
  const before = process.cpuUsage()
  while (await core.step()) core.report()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / Number(steps) / Number(candidates)
}

const least = { with: Infinity, without: Infinity }
for (let round = 0; round < ROUNDS; round++) {
  least.without = Math.min(least.without, await cost(`a${round}`, []))
  least.with = Math.min(least.with, await cost(`b${round}`, added))
}
engine.close()
console.log(
  `${least.without.toFixed(1)} us a step, ${least.with.toFixed(1)} us with ${terms} terms: ` +
    `${((100 * (least.with - least.without)) / least.without).toFixed(1)} % more`,
)

/**
 * Measures whether a model tells the true ending of a story from three wrong ones: endings of other stories, or
 * endings that the model wrote itself.
 *
 *     npm run build && node examples/study/endings.mjs MODEL TEXT STORIES [--record]
 *
 * TEXT has stories one after the other, each beginning with "Once upon a time". An ending is the last sentence
 * of a story, and the story before it, up to 600 characters, is the prompt. `readout` is the negative
 * log-probability of an ending at a number of steps, `energy` the energy of the representation of its tokens;
 * of each the sum, the mean over tokens, and the difference to the same without the story. --record keeps the
 * figures for docs/thinking.md, which `npm run study -- --draw` writes again.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { openModel } from '../../dist/library/library.js'
import { percent } from './measure.mjs'
import { storiesOf } from './stories-of.mjs'

const { positionals, values } = parseArgs({
  options: { record: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const [directory, text, count] = positionals
const OTHERS = 3
const STEPS = [0, 1, 2, 4, 8]

/** How well each ending fits, by each measure; lower is better. */
async function measuresOf(model, prompt, answers) {
  const found = {}
  const enter = (name, given, alone) => {
    found[`${name}, sum`] = given.map(({ energy }) => energy)
    found[`${name}, mean`] = given.map(({ energyPerToken }) => energyPerToken)
    found[`${name}, gain`] = given.map(({ energy }, i) => energy - alone[i].energy)
  }
  const score = (by, maxSteps, context) =>
    model.score({ prompt: context, answers, by, ...(maxSteps !== undefined && { maxSteps }) })
  for (const steps of STEPS) {
    const [given, alone] = [
      await score('readout', steps, prompt),
      await score('readout', steps, ''),
    ]
    enter(`readout, ${steps} steps`, given, alone)
  }
  enter('energy', await score('energy', undefined, prompt), await score('energy', undefined, ''))
  return found
}

/** Different sentences in the model's own words, about as long as the true ending. */
async function ownEndings(model, prompt, ending) {
  const { length } = await model.tokenize(ending)
  const found = new Set()
  for (let seed = 1; found.size < OTHERS; seed++) {
    const maxTokens = length + 8
    const { text } = await model.generate({ prompt, maxTokens, seed, temperature: 0.7 })
    const [sentence] = /^[^.!?]*[.!?]+["']?/.exec(text) ?? [text]
    // It may end the story at once, or in the words of the true ending.
    if (sentence.trim() !== '' && sentence.trim() !== ending.trim()) found.add(sentence)
  }
  return [...found]
}

const stories = storiesOf(text).slice(0, Number(count))
const model = await openModel(directory, { threads: 1 })
/** By kind of the wrong endings and by measure: for how many stories the true ending fits best. */
const right = { 'other stories': {}, 'its own': {} }
for (const [index, { ending, prompt }] of stories.entries()) {
  const others = Array.from(
    { length: OTHERS },
    (_, i) => stories[(index + (i + 1) * 7) % stories.length].ending,
  )
  const own = await ownEndings(model, prompt, ending)
  for (const [kind, wrong] of Object.entries({ 'other stories': others, 'its own': own })) {
    const measures = await measuresOf(model, prompt, [ending, ...wrong])
    for (const [name, [first, ...rest]] of Object.entries(measures)) {
      right[kind][name] ??= 0
      if (rest.every((each) => first < each)) right[kind][name]++
    }
  }
}
await model.close()
const [kinds, names] = [Object.keys(right), Object.keys(right['its own'])]
console.log(
  `${stories.length} stories; the true ending fits best, wrong ones from: ${kinds.join(', ')}`,
)
for (const name of names)
  console.log(
    `${name}: ${kinds.map((kind) => percent(right[kind][name], stories.length)).join(', ')}`,
  )
if (values.record) {
  const path = new URL('../../docs/thinking/endings.json', import.meta.url).pathname
  const figures = { model: basename(directory), stories: stories.length, kinds, right }
  writeFileSync(path, `${JSON.stringify(figures, null, 2)}\n`)
}

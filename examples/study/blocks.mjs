/**
 * Measures a model of text whose blocks settle as a whole, beside a causal control and a judge:
 *
 *     npm run build && node examples/study/blocks.mjs MODEL TEXT --judge MODEL [--control DIRECTORY] [--rows N] [--record]
 *
 * - Infilling: nats of each blank where 30 % of a block are blank with text on both sides, at once by steps, and told
 *   one after the other; the control has the text on the left alone.
 * - Writing: the judge's nats per byte of what is written by so many rounds and steps.
 * - Endings: whether the true ending of a story is told from three of the model's own.
 * - Choosing: the judge's nats of the best of 16 continuations, by the model, less the mean of all 16.
 *
 * --record keeps the figures for docs/thinking.md, which `npm run study -- --draw` writes again. Without --control the
 * recorded figures of the control stay.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadBackend } from '../../dist/energy/tfjs/backend.js'
import { Network } from '../../dist/energy/tfjs/network.js'
import { openModel } from '../../dist/library/library.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { uniform } from '../../dist/refine/random.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'
import { batchOfWindows } from '../../dist/train/data/training-batch.js'
import { feedForwardLogits } from '../../dist/train/objectives/feed-forward.js'
import { inputsOf } from '../../dist/train/objectives/objective.js'
import { storiesOf } from './stories-of.mjs'
import {
  energiesOfTokens,
  leaveOneOut,
  natsAtOnce,
  natsInOrder,
  openBlocks,
  write,
} from './settle-blocks.mjs'

const { positionals, values } = parseArgs({
  options: {
    control: { type: 'string' },
    judge: { type: 'string' },
    record: { type: 'boolean', default: false },
    rows: { type: 'string', default: '160' },
  },
  allowPositionals: true,
})
const [directory, text] = positionals
const rows = Number(values.rows)
const BLANK = -1
const CONTEXT = 64
/** 10 of 32 positions. */
const SHARE = 0.3
const STEPS = [1, 2, 4, 8, 16, 32]
/** Rounds and the steps of each: budgets that double, and 16 beyond. */
const WAYS = [
  [1, 1],
  [2, 1],
  [4, 1],
  [8, 1],
  [16, 1],
  [10, 2],
  [12, 2],
  [14, 2],
  [16, 2],
  [12, 3],
  [10, 4],
  [16, 3],
  [14, 4],
  [16, 4],
  [20, 4],
  [24, 4],
  [32, 4],
  [20, 8],
  [24, 8],
  [28, 8],
  [32, 8],
]
const CHOICES = 16
const CHOSEN = { rounds: 16, steps: 1 }
const OTHERS = 3

const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length
/** Of a mean of independent numbers. */
const errorOf = (numbers) =>
  Math.sqrt(mean(numbers.map((x) => (x - mean(numbers)) ** 2)) / Math.max(1, numbers.length - 1))
const summary = (numbers) => ({ mean: mean(numbers), error: errorOf(numbers) })

const model = await openBlocks(directory)
const { block, tokenizer } = model
const tokens = tokenizer.encode(readFileSync(text, 'utf8').replaceAll('<|endoftext|>', ''))

/** Pieces of the text that do not overlap, evenly spread over it. */
const pieces = Array.from({ length: rows }, (_, i) => {
  const from = Math.floor((i * (tokens.length - CONTEXT - block)) / rows)
  const context = [tokenizer.bos, ...tokens.slice(from, from + CONTEXT)]
  return { context, truth: tokens.slice(from + CONTEXT, from + CONTEXT + block) }
})

const blanks = Math.round(SHARE * block)
/** A run in the middle of the block, or as many positions anywhere but at its ends. */
const places = {
  run: () => Array.from({ length: blanks }, (_, i) => Math.floor((block - blanks) / 2) + i),
  scattered: (row) => {
    const inner = Array.from({ length: block - 2 }, (_, i) => i + 1)
    const drawn = inner.map((at) => [uniform(1, row, at), at]).sort((a, b) => a[0] - b[0])
    return drawn.slice(0, blanks).map(([, at]) => at)
  },
}
const caseOf = (piece, blank) => ({
  ...piece,
  clamped: piece.truth.map((token, at) => (blank.includes(at) ? BLANK : token)),
})
const infills = Object.fromEntries(
  Object.entries(places).map(([kind, of]) => [
    kind,
    pieces.map((piece, i) => caseOf(piece, of(i))),
  ]),
)
const continuations = pieces.map((piece) => ({
  ...piece,
  clamped: new Array(block).fill(BLANK),
}))

/** Of a causal model, the nats of every token of the block, by case. */
async function controlNats(path) {
  const { config, tensors } = openCheckpoint(path)
  const { tf } = await loadBackend('auto', 1)
  const weights = new Map(
    [...tensors].map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape])]),
  )
  const network = new Network(tf, config, weights)
  const width = CONTEXT + block
  const found = []
  for (let from = 0; from < rows; from += 16) {
    const part = pieces.slice(from, from + 16)
    const windows = Int32Array.from(part.flatMap(({ context, truth }) => [...context, ...truth]))
    const nats = tf.tidy(() => {
      const inputs = inputsOf(network, batchOfWindows(config, windows, part.length))
      const logits = tf.logSoftmax(feedForwardLogits(network, inputs))
      return tf.neg(tf.sum(tf.mul(logits, tf.oneHot(inputs.targets, config.vocab_size)), 2))
    })
    const all = nats.dataSync()
    nats.dispose()
    part.forEach((_, row) =>
      found.push([...all.subarray(row * width + CONTEXT, (row + 1) * width)]),
    )
  }
  return found
}

const perBlank = (byCase) => summary(byCase.map((nats) => mean(nats)))

async function infilling() {
  const causal = values.control && (await controlNats(values.control))
  return Object.fromEntries(
    Object.entries(infills).map(([kind, cases]) => {
      const atOnce = natsAtOnce(model, cases, STEPS)
      const inOrder = natsInOrder(model, cases, 2)
      const own = {
        atOnce: STEPS.map((steps, i) => ({ steps, ...perBlank(atOnce.map((c) => c[i])) })),
      }
      own.inOrder = perBlank(inOrder)
      if (causal) {
        const at = cases.map(({ clamped }, i) => causal[i].filter((_, p) => clamped[p] === BLANK))
        own.control = perBlank(at)
        own.share = own.inOrder.mean / own.control.mean
      }
      return [kind, own]
    }),
  )
}

/** The judge's nats per byte of texts after a prompt, by text. */
const costs = new Map()
async function costOf(judge, { context }, written) {
  const prompt = tokenizer.decode(context.slice(1))
  const answer = tokenizer.decode(written)
  const key = `${prompt}\0${answer}`
  if (!costs.has(key)) {
    const [{ energy }] = await judge.score({
      prompt,
      answers: [answer],
      by: 'readout',
      maxSteps: 1,
    })
    costs.set(key, energy / Buffer.byteLength(answer))
  }
  return costs.get(key)
}

async function writing(judge, cases) {
  const costsOf = async (texts) => {
    const found = []
    for (const [i, each] of texts.entries()) found.push(await costOf(judge, cases[i], each))
    return found
  }
  const byWay = []
  for (const [rounds, steps] of WAYS) {
    const cost = await costsOf(write(model, cases, { rounds, steps }))
    const before = byWay.at(-1)?.cost
    const change = before ? summary(cost.map((x, i) => x - before[i])) : undefined
    byWay.push({ rounds, steps, budget: rounds * steps, cost, change })
  }
  const best16 = byWay.find(({ budget }) => budget === 16).cost
  return {
    truth: summary(await costsOf(cases.map(({ truth }) => truth))),
    ways: byWay.map(({ cost, ...way }) => ({
      ...way,
      ...summary(cost),
      beyond16: summary(cost.map((x, i) => x - best16[i])),
    })),
  }
}

/** The share of n-grams of words that are different ones, in texts of so many cases. */
function distinct(texts) {
  return [1, 2, 3].map((n) => {
    const grams = texts.flatMap((each) => {
      const words = tokenizer.decode(each).split(/\s+/).filter(Boolean)
      return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) =>
        words.slice(i, i + n).join(' '),
      )
    })
    return new Set(grams).size / grams.length
  })
}

/** By measure, a number for each of several texts: the lower, the better the model finds the text. */
function measuresOf(texts) {
  const left = leaveOneOut(model, texts, 2)
  return {
    'energy of its tokens': energiesOfTokens(model, texts),
    'each token left out': left.map((each) => mean(each.map(({ nats }) => nats))),
    'each token left out, nats less entropy': left.map((each) =>
      mean(each.map(({ entropy, nats }) => nats - entropy)),
    ),
  }
}

/**
 * By measure, for how many stories the true ending fits best among three that the model wrote. All four have as many
 * tokens as the true one, for the model's sentences are shorter than true endings, and a sum would tell them by that.
 */
function endings() {
  const stories = storiesOf(text)
    .map(({ ending, prompt }) => ({
      context: [tokenizer.bos, ...tokenizer.encode(prompt)],
      truth: tokenizer.encode(ending),
    }))
    .filter(({ context, truth }) => context.length <= 200 && truth.length <= block)
    .slice(0, rows)
  const cases = stories.map(({ context }) => ({ context, clamped: new Array(block).fill(BLANK) }))
  const own = Array.from({ length: OTHERS }, (_, i) =>
    write(model, cases, { ...CHOSEN, temperature: 0.7, seed: 1000 * (i + 1) }),
  )
  const texts = stories.flatMap(({ context, truth }, i) =>
    [truth, ...own.map((each) => each[i].slice(0, truth.length))].map((each) => ({
      context,
      tokens: each,
    })),
  )
  const measures = measuresOf(texts)
  const right = Object.fromEntries(
    Object.entries(measures).map(([name, all]) => [
      name,
      stories.filter((_, i) => {
        const [first, ...rest] = all.slice(i * (OTHERS + 1), (i + 1) * (OTHERS + 1))
        return rest.every((each) => first < each)
      }).length,
    ]),
  )
  return { stories: stories.length, right }
}

/** The judge's nats per byte of the continuation that the model chooses among 16, less the mean of all 16. */
async function choosing(judge) {
  const cases = continuations.filter((_, i) => i % Math.ceil(rows / 48) === 0)
  const written = Array.from({ length: CHOICES }, (_, i) =>
    write(model, cases, { ...CHOSEN, temperature: 0.7, seed: 5000 * (i + 1) }),
  )
  const texts = written.flatMap((all) =>
    all.map((each, i) => ({ context: cases[i].context, tokens: each })),
  )
  const measures = measuresOf(texts)
  const judged = []
  for (const [i] of texts.entries()) {
    const { tokens: each, context } = texts[i]
    judged.push(await costOf(judge, { context }, each))
  }
  const ofCase = (numbers, i) => written.map((_, choice) => numbers[choice * cases.length + i])
  return {
    cases: cases.length,
    ...Object.fromEntries(
      Object.entries(measures).map(([name, all]) => [
        name,
        summary(
          cases.map((_, i) => {
            const [own, others] = [ofCase(all, i), ofCase(judged, i)]
            return others[own.indexOf(Math.min(...own))] - mean(others)
          }),
        ),
      ]),
    ),
  }
}

const judge = await openModel(values.judge, { threads: 1 })
const path = new URL('../../docs/thinking/blocks.json', import.meta.url).pathname
const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
const found = {
  model: basename(directory),
  judge: values.judge,
  rows,
  blanks,
  block,
  context: CONTEXT,
}
found.infilling = await infilling()
if (!values.control)
  for (const [kind, { control, share }] of Object.entries(before.infilling ?? {}))
    if (control) Object.assign(found.infilling[kind], { control, share })
console.log(JSON.stringify(found.infilling, null, 1))
const written = write(model, continuations, { ...CHOSEN, temperature: 0.7 })
found.distinct = { written: distinct(written), truth: distinct(pieces.map(({ truth }) => truth)) }
for (const i of [0, 1, 2, 3])
  console.log(tokenizer.decode(pieces[i].context.slice(1)), '|', tokenizer.decode(written[i]), '\n')
found.endings = endings()
console.log(JSON.stringify(found.endings), JSON.stringify(found.distinct))
found.writing = {
  infill: await writing(judge, infills.run),
  continue: await writing(judge, continuations),
}
console.log(JSON.stringify(found.writing))
found.choosing = await choosing(judge)
console.log(JSON.stringify(found.choosing))
await judge.close()
model.engine.close()
const round = (_, value) => (typeof value === 'number' ? Number(value.toPrecision(5)) : value)
if (values.record) writeFileSync(path, `${JSON.stringify(found, round)}\n`)

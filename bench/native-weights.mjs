// What bf16 and int8 weights cost on the shipped models: error in energy, and how often the most
// probable token is the one that float32 gives, over answers settled in the model's own steps.
//   npm run build && node bench/native-weights.mjs [--models sudoku6,stories] [--answers 256]
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadAddon } from '../dist/energy/native/addon.js'
import { nativeEngine } from '../dist/energy/native/engine.js'
import { openCheckpoint } from '../dist/model/checkpoint.js'
import { landscapeOf } from '../dist/model/config.js'
import { uniform } from '../dist/refine/random.js'
import { openTokenizer } from '../dist/tokenizer/tokenizer.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'sudoku6,stories' },
    answers: { type: 'string', default: '256' },
    text: { type: 'string' },
  },
})
const answers = Number(flags.answers)
const batch = 32
const prompt =
  'Once upon a time, there was a little girl who loved to play in the garden. One day she found a small box ' +
  'under the big tree. She was very happy and ran to her mom. "Look what I found!" she said. Her mom smiled and ' +
  'they opened the box together. Inside there was an old toy train. The little girl wanted to share it with her friend.'

/** A 6x6 board that is valid, with about half of its cells blank: rows of a shifted pattern, relabelled. */
function boardOf(index) {
  const digits = [0, 1, 2, 3, 4, 5]
  for (let i = 5; i > 0; i--) {
    const j = Math.floor(uniform(index, 1, i) * (i + 1))
    ;[digits[i], digits[j]] = [digits[j], digits[i]]
  }
  return Array.from({ length: 36 }, (_, cell) => {
    const row = Math.floor(cell / 6)
    const shift = (row % 2) * 3 + Math.floor(row / 2)
    const given = uniform(index, 2, cell) < 0.5
    return given ? String(digits[((cell % 6) + shift) % 6] + 1) : '_'
  })
}

/** Contexts and clamped tokens of the answers to settle. */
function cases(config, tokenizer) {
  if (config.template?.length === undefined) {
    const tokens = tokenizer.encode(prompt)
    return Array.from({ length: answers }, (_, i) => ({
      context: tokens.slice(0, 8 + (i % (tokens.length - 8))),
    }))
  }
  return Array.from({ length: answers }, (_, i) => ({
    context: [],
    clamped: boardOf(i).map((cell) => (cell === '_' ? -1 : tokenizer.encode(cell)[0])),
  }))
}

function settle(checkpoint, weights, rows) {
  const { config } = checkpoint
  const perRow = Math.ceil(config.context_length / 16)
  const engine = nativeEngine(checkpoint, loadAddon(), {
    capacity: { slots: batch, contexts: batch, pages: batch * perRow },
    threads: 2,
    weights,
    reason: 'comparison',
  })
  const out = []
  for (let from = 0; from < rows.length; from += batch) {
    const part = rows.slice(from, from + batch)
    part.forEach(({ context, clamped }, i) => {
      const pages = Array.from({ length: perRow }, (_, page) => i * perRow + page)
      engine.observe([{ contextId: i, tokens: context, pages }])
      engine.begin([
        { slot: i, contextId: i, seed: from + i, candidate: 0, ...(clamped && { clamped }) },
      ])
    })
    let energies = []
    for (let step = 0; step < config.steps; step++)
      energies = engine
        .descend(
          part.map((_, slot) => ({ slot, landscape: landscapeOf(config, step), noise: 0, step })),
        )
        .map((result) => result.energy)
    engine
      .read(part.map((_, slot) => ({ slot, which: 'last', top: 1 })))
      .forEach(({ tokens }, i) => {
        out.push({ energy: energies[i], tokens })
        engine.release(i)
      })
  }
  engine.close()
  return out
}

for (const name of flags.models.split(',')) {
  const directory = new URL(`../models/${name}`, import.meta.url).pathname
  if (!existsSync(`${directory}/model.safetensors`)) {
    console.log(`${name}: no weights there`)
    continue
  }
  const checkpoint = openCheckpoint(directory)
  const rows = cases(checkpoint.config, openTokenizer(directory))
  const expected = settle(checkpoint, 'f32', rows)
  const scale = expected.reduce((sum, { energy }) => sum + Math.abs(energy), 0) / expected.length
  for (const weights of ['bf16', 'int8']) {
    const actual = settle(checkpoint, weights, rows)
    let apart = 0
    let most = 0
    let same = 0
    let total = 0
    actual.forEach(({ energy, tokens }, i) => {
      const difference = Math.abs(energy - expected[i].energy)
      apart += difference / actual.length
      most = Math.max(most, difference)
      tokens.forEach((token, k) => {
        if (rows[i].clamped && rows[i].clamped[k] >= 0) return
        total++
        if (token === expected[i].tokens[k]) same++
      })
    })
    console.log(
      `${name} ${weights}: energy off by ${apart.toPrecision(3)} on average (${most.toPrecision(3)} at most; ` +
        `mean |E| ${scale.toPrecision(3)}), ${((100 * same) / total).toFixed(2)} % of ${total} greedy tokens the same`,
    )
  }
}

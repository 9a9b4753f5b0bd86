/**
 * Blocks of text that settle on the engine that also serves them: what a block reads after so many steps, and what
 * is written in rounds, each of which settles and then commits the most certain positions.
 */
import { openEngine } from '../../dist/energy/open-engine.js'
import { commits } from '../../dist/refine/commit.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'
import { ENGINE, SLOTS } from './measure.mjs'

const BLANK = -1

/** A case: `context`, tokens before the block; `clamped`, [K] known tokens or -1. */
export async function openBlocks(directory) {
  const tokenizer = openTokenizer(directory)
  const pages = SLOTS * 32
  const engine = await openEngine({
    directory,
    engine: ENGINE,
    threads: 1,
    slots: SLOTS,
    contexts: SLOTS,
    pages,
  })
  return { engine, tokenizer, block: engine.model.answer.block, pagesEach: pages / SLOTS }
}

/** Calls `use` with as many cases at a time as there are slots, their contexts observed and answers begun. */
function inBatches({ engine, pagesEach }, cases, use) {
  for (let from = 0; from < cases.length; from += SLOTS) {
    const batch = cases.slice(from, from + SLOTS)
    const { pageSize } = engine.capacity
    engine.observe(
      batch.map(({ context }, slot) => ({
        contextId: slot,
        from: 0,
        tokens: context,
        pages: Array.from(
          { length: Math.min(pagesEach, Math.ceil(context.length / pageSize)) },
          (_, page) => slot * pagesEach + page,
        ),
      })),
    )
    engine.begin(batch.map(({ clamped }, slot) => rowOf(slot, clamped)))
    use(batch, from)
    batch.forEach((_, slot) => engine.release(slot))
  }
}

const rowOf = (slot, clamped, start) => ({
  slot,
  contextId: slot,
  seed: slot,
  candidate: 0,
  clamped,
  ...(start && { start }),
})

const descend = (engine, slots, step) =>
  engine.descend(slots.map((slot) => ({ slot, landscape: 0, noise: 0, step })))

/** Takes up positions of answers where they stand: `slots` and their clamped positions. */
function goOnWith(engine, changes) {
  const starts = engine.points(changes.map(({ slot }) => ({ slot, which: 'present' })))
  engine.begin(changes.map(({ clamped, slot }, i) => rowOf(slot, clamped, starts[i])))
}

/** Of logits [K, V] at a position: -log p of `token`, and the entropy, in nats. */
function surpriseAt(logits, block, position, token) {
  const width = logits.length / block
  const row = logits.subarray(position * width, (position + 1) * width)
  const most = row.reduce((a, b) => Math.max(a, b))
  let total = 0
  let weighted = 0
  for (const z of row) {
    total += Math.exp(z - most)
    weighted += Math.exp(z - most) * (z - most)
  }
  return {
    nats: most + Math.log(total) - row[token],
    entropy: Math.log(total) - weighted / total,
  }
}

const natsOf = (...place) => surpriseAt(...place).nats

/** By case and budget, the nats of each blank: all blanks at once, by the answer of lowest energy so far. */
export function natsAtOnce(model, cases, budgets) {
  const { block, engine } = model
  const found = []
  inBatches(model, cases, (batch) => {
    const own = batch.map(() => [])
    for (let step = 0; step < Math.max(...budgets); step++) {
      descend(engine, [...batch.keys()], step)
      if (!budgets.includes(step + 1)) continue
      const reads = engine.read(batch.map((_, slot) => ({ slot, which: 'best', top: 'all' })))
      reads.forEach(({ logits }, i) => {
        const { clamped, truth } = batch[i]
        const nats = truth.flatMap((token, at) =>
          clamped[at] === BLANK ? [natsOf(logits, block, at, token)] : [],
        )
        own[i].push(nats)
      })
    }
    found.push(...own)
  })
  return found
}

/**
 * By case, the nats of each blank if they are told one after the other, from left to right, `steps` steps each: an
 * exact log-likelihood of all of them together, as that of a causal model is.
 */
export function natsInOrder(model, cases, steps) {
  const { block, engine } = model
  const found = cases.map(() => [])
  inBatches(model, cases, (batch, from) => {
    const known = batch.map(({ clamped }) => [...clamped])
    for (let step = 0; ;) {
      const open = [...batch.keys()].filter((i) => known[i].includes(BLANK))
      if (open.length === 0) return
      for (const end = step + steps; step < end; step++) descend(engine, open, step)
      const reads = engine.read(open.map((slot) => ({ slot, which: 'last', top: 'all' })))
      open.forEach((i, row) => {
        const at = known[i].indexOf(BLANK)
        const token = batch[i].truth[at]
        found[from + i].push(natsOf(reads[row].logits, block, at, token))
        known[i][at] = token
      })
      const rest = open.filter((i) => known[i].includes(BLANK))
      if (rest.length > 0)
        goOnWith(
          engine,
          rest.map((slot) => ({ slot, clamped: known[slot] })),
        )
    }
  })
  return found
}

/**
 * By case, the tokens [K] that are written in `rounds` of `steps` steps: after each the most certain positions are
 * committed, evenly over the rounds. `temperature`: of the tokens; `seed`: of the draws.
 */
export function write(model, cases, { rounds, steps, temperature = 0, seed = 1 }) {
  const { block, engine } = model
  const found = []
  inBatches(model, cases, (batch, from) => {
    const known = batch.map(({ clamped }) => [...clamped])
    const blanks = batch.map(({ clamped }) => clamped.filter((token) => token === BLANK).length)
    let step = 0
    for (let round = 1; round <= rounds; round++) {
      const open = [...batch.keys()].filter((i) => known[i].includes(BLANK))
      if (open.length === 0) break
      for (const end = step + steps; step < end; step++) descend(engine, open, step)
      const reads = engine.read(
        open.map((slot) => ({ slot, which: 'last', top: 'all', temperature: 1 })),
      )
      open.forEach((i, row) => {
        const positions = [...known[i].keys()].filter((at) => known[i][at] === BLANK)
        const done = blanks[i] - positions.length
        const count = Math.ceil((blanks[i] * round) / rounds) - done
        const made = commits(
          { draw: 'temperature' },
          count,
          reads[row].weights,
          block,
          positions,
          seed + from + i,
          round,
          temperature,
        )
        for (const { position, token } of made) known[i][position] = token
      })
      const rest = open.filter((i) => known[i].includes(BLANK))
      if (rest.length > 0)
        goOnWith(
          engine,
          rest.map((slot) => ({ slot, clamped: known[slot] })),
        )
    }
    found.push(...known)
  })
  return found
}

/** By case, the lowest energy of its blanks within so many steps. */
export function energies(model, cases, steps) {
  const found = []
  inBatches(model, cases, (batch) => {
    let results = []
    for (let step = 0; step < steps; step++)
      results = descend(model.engine, [...batch.keys()], step)
    found.push(...results.map(({ best }) => best))
  })
  return found
}

/**
 * Of `tokens` after a context, the nats of each where all others are given (pseudo-log-likelihood, Salazar et al.
 * 2020), and the entropy of what is read there: whatever follows them in the block is left open.
 */
export function leaveOneOut(model, texts, steps) {
  const rest = (tokens) => new Array(model.block - tokens.length).fill(BLANK)
  const cases = texts.flatMap(({ context, tokens }) =>
    tokens.map((_, at) => ({
      context,
      at,
      truth: tokens,
      clamped: [...tokens.with(at, BLANK), ...rest(tokens)],
    })),
  )
  const { block, engine } = model
  const found = []
  inBatches(model, cases, (batch) => {
    for (let step = 0; step < steps; step++) descend(engine, [...batch.keys()], step)
    const reads = engine.read(batch.map((_, slot) => ({ slot, which: 'last', top: 'all' })))
    batch.forEach(({ at, truth }, i) =>
      found.push(surpriseAt(reads[i].logits, block, at, truth[at])),
    )
  })
  let used = 0
  return texts.map(({ tokens }) => found.slice(used, (used += tokens.length)))
}

/** By text, the energy of its tokens as one block. */
export function energiesOfTokens(model, texts) {
  const found = []
  const cases = texts.map(({ context, tokens }) => ({ context, tokens }))
  inBatches(model, cases, (batch) => {
    const rows = batch.map(({ tokens }, slot) => ({
      contextId: slot,
      answer: tokens,
      landscape: 0,
    }))
    found.push(...model.engine.energy(rows).map(({ energy }) => energy))
  })
  return found
}

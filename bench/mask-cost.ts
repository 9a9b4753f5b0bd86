/**
 * What a token mask costs, by parts, in the thread of the engine: a text is written token by token with the
 * engine's own verbs, as its worker does, and each part is timed. Reads with and without the mask are made of the
 * same answer, in turns.
 */
import { join } from 'node:path'
import type { SynchronousEngine } from '../src/energy/engine.js'
import { loadAddon } from '../src/energy/native/addon.js'
import { nativeEngine } from '../src/energy/native/engine.js'
import { nativePageSize } from '../src/energy/native/options.js'
import { openCheckpoint } from '../src/model/checkpoint.js'
import { landscapeOf } from '../src/model/config.js'
import { uniform } from '../src/refine/random.js'
import type { Grammar } from '../src/tokenizer/grammar/grammar.js'
import { TokenMasks } from '../src/tokenizer/grammar/token-masks.js'
import { openTokenizer } from '../src/tokenizer/tokenizer.js'
import './addon.js'
import { median } from './machine.js'

/** Microseconds, medians over all tokens. */
export interface MaskCost {
  /** One descent step. */
  step: number
  /** All that the engine does for a token, without a mask: to observe it, its steps, and to draw the next. */
  token: number
  /** Until the mask is there, once the answer has settled. */
  wait: number
  /** How much longer it takes to read the answer and draw its token. */
  draw: number
  /** To tell the thread of the grammar which token was drawn. */
  tell: number
}

const micros = (act: () => void): number => {
  const began = performance.now()
  act()
  return 1e3 * (performance.now() - began)
}

/** `count`: tokens to write. `prompt`: before each text. */
export async function maskCost(
  models: string,
  model: string,
  grammar: Grammar,
  count: number,
): Promise<MaskCost> {
  const directory = join(models, model)
  const checkpoint = openCheckpoint(directory)
  const tokenizer = openTokenizer(directory)
  const { context_length: length, steps, vocab_size: tokens } = checkpoint.config
  const pages = Array.from({ length: Math.ceil((length + 1) / nativePageSize) }, (_, page) => page)
  const capacity = { slots: 1, contexts: 1, pages: pages.length }
  const options = {
    threads: 1,
    reason: 'asked for',
    weights: 'f32',
    cacheType: 'f32',
    capacity,
  } as const
  const engine: SynchronousEngine = nativeEngine(checkpoint, loadAddon(), options)
  const masks = new TokenMasks({ directory, tokens })
  const prompt = [
    ...(tokenizer.bos === undefined ? [] : [tokenizer.bos]),
    ...tokenizer.encode('Once'),
  ]
  const found: Record<keyof MaskCost, number[]> = {
    step: [],
    token: [],
    wait: [],
    draw: [],
    tell: [],
  }
  let mask = await masks.open(grammar)
  let context: number[] = []
  for (let n = 0; n < count; n++) {
    if (context.length === 0) context = [...prompt]
    const first = context.length === prompt.length
    const fresh = first ? context : context.slice(-1)
    const observe = () => {
      engine.observe([{ contextId: 0, from: context.length - fresh.length, tokens: fresh, pages }])
      engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
    }
    const begun = micros(observe)
    const stepTimes = Array.from({ length: steps }, (_, step) =>
      micros(() => {
        const landscape = landscapeOf(checkpoint.config, step)
        engine.descend([{ slot: 0, landscape, noise: 0, step }])
      }),
    )
    const draws = [uniform(1, 0, n)]
    const row = { slot: 0, which: 'best', top: 'all', temperature: 1, draws } as const
    let allowed: Int32Array | undefined
    const wait = micros(() => (allowed = mask.allowed()))
    let token = -1
    const readMasked = () => {
      token = engine.read([{ ...row, ...(allowed && { allowed }) }])[0]?.tokens[0] as number
    }
    const readFree = () => void engine.read([row])
    // Whichever comes first finds the weights of the read-out outside the caches.
    readFree()
    const [masked, free] =
      n % 2 === 0
        ? [micros(readMasked), micros(readFree)]
        : [micros(readFree), micros(readMasked)].reverse()
    const tell = micros(() => {
      mask.accept([token])
    })
    if (!first) {
      found.step.push(median(stepTimes))
      found.token.push(begun + stepTimes.reduce((sum, time) => sum + time, 0) + (free as number))
      found.wait.push(wait)
      found.draw.push((masked as number) - (free as number))
      found.tell.push(tell)
    }
    context.push(token)
    if (token !== tokenizer.bos && context.length < length - 1) continue
    mask.close()
    mask = await masks.open(grammar)
    context = []
  }
  await masks.close()
  engine.close()
  const [step, token, wait, draw, tell] = [
    found.step,
    found.token,
    found.wait,
    found.draw,
    found.tell,
  ].map(median)
  return { step, token, wait, draw, tell } as MaskCost
}

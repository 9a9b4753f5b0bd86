/**
 * Another model whose energy is a term of requests: an engine of its own beside the one that descends, in the
 * same thread. It gives the energy, and the gradient, of an answer of that model which stands for what is read
 * out of a candidate (src/refine/terms/model-energy.ts). Knows no file and no engine's name.
 *
 * The gradient is read off one step: from y the engine goes to y - g for a step of size 1. For head and potential
 * energies and the exact direction of residual ones this is the gradient of the energy (of disagreement, where
 * doubt counts too); along the amortized direction it is y - F(y), which leaves out how F depends on y.
 */
import type { EnergyEngine } from '../../../energy/engine.js'
import { landscapeOf, stateWidth } from '../../../model/derived.js'
import {
  addGivens,
  type ModelReading,
  slopeOf,
  stateOf,
  translate,
  type Translation,
} from '../../../refine/terms/model-energy.js'
import { encodeTemplate } from '../../../tokenizer/answer-template.js'
import { mapTokens, ordinaryTokens, type TokenMap } from '../../../tokenizer/token-map.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import { BLANK } from '../answers/answer-shape.js'

/** A model that has been opened for terms; it is closed with the worker. */
export interface OpenedModel {
  readonly engine: EnergyEngine
  readonly tokenizer: Tokenizer
}

/** What identifies the context of one term of one request; its tokens grow with the completion. */
export interface TermContext {
  /** Tokens of the other model before every answer. */
  readonly prompt: readonly number[]
}

/** One read-out to be judged. */
export interface ModelAsk {
  readonly context: TermContext
  /** Of the completion before the present answer, in tokens of the other model. */
  readonly before: readonly number[]
  /** [K, V] of the candidate. */
  readonly chances: Float64Array
  /** [K] tokens of the other model that are given, BLANK where the position follows `chances`. */
  readonly clamped: readonly number[] | undefined
}

/** Descents by which the vectors that stand for tokens are found, and the seed of their noise. */
const PROBES = 8
const PROBE_SEED = 1
/** A position stands for a token that has at least this chance. */
const SURE = 0.9

export class TermModel {
  readonly map: TokenMap
  private readonly translation: Translation
  /** Contexts that are observed, by their terms; the one that was used least recently is first. */
  private readonly contexts = new Map<TermContext, { id: number; tokens: readonly number[] }>()
  /** Contexts that no term has. */
  private readonly freed: number[]

  private constructor(
    readonly opened: OpenedModel,
    host: Tokenizer,
    hostVocab: number,
    vectors: readonly Float32Array[] | undefined,
  ) {
    const { model } = opened.engine
    this.freed = Array.from({ length: opened.engine.capacity.contexts }, (_, id) => id)
    this.map = mapTokens(host, opened.tokenizer, hostVocab)
    this.translation = {
      to: this.map.to,
      vocab: model.vocab_size,
      normalizes: model.answer.normalize !== 'never',
      ...(vectors && { vectors }),
    }
  }

  /** `host`: the tokenizer of the model that descends, whose read-out has `hostVocab` tokens. */
  static async of(opened: OpenedModel, host: Tokenizer, hostVocab: number): Promise<TermModel> {
    const latent = opened.engine.model.answer.space === 'latent'
    const vectors = latent ? await standingVectors(opened) : undefined
    return new TermModel(opened, host, hostVocab, vectors)
  }

  /** In the order of `asks`. */
  async evaluate(asks: readonly ModelAsk[]): Promise<ModelReading[]> {
    const { slots } = this.opened.engine.capacity
    const readings: ModelReading[] = []
    for (let from = 0; from < asks.length; from += slots)
      readings.push(...(await this.evaluateTogether(asks.slice(from, from + slots))))
    return readings
  }

  async close(): Promise<void> {
    await this.opened.engine.close()
  }

  /** At most as many as there are slots, of which each takes one. */
  private async evaluateTogether(asks: readonly ModelAsk[]): Promise<ModelReading[]> {
    const { engine } = this.opened
    const { model } = engine
    const found = asks.map(({ chances }) => translate(chances, this.translation))
    const starts = found.map(({ q }) => stateOf(q, this.translation))
    const begins = []
    for (const [slot, { before, clamped, context }] of asks.entries()) {
      const contextId = await this.observe(context, before)
      const start = starts[slot] as Float32Array
      begins.push({ slot, contextId, seed: 0, candidate: 0, start, ...(clamped && { clamped }) })
    }
    await engine.begin(begins)
    const landscape = model.landscapes - 1
    const results = await engine.descend(
      begins.map(({ slot }) => ({ slot, landscape, step: 0, stepSize: 1, noise: 0 })),
    )
    const ends = await engine.points(begins.map(({ slot }) => ({ slot, which: 'present' })))
    return asks.map(({ chances, clamped }, i): ModelReading => {
      const { q, shares } = found[i] as (typeof found)[number]
      // In vocab space a step begins at the distribution.
      const from = model.answer.space === 'vocab' ? q : (starts[i] as Float32Array)
      const gradient = this.gradientOf(from, ends[i] as Float32Array, clamped)
      const energy = results[i]?.energy ?? NaN
      if (!Number.isFinite(energy)) throw new Error(`the energy of ${model.name} is not finite`)
      const slope = slopeOf(gradient, q, shares, this.translation)
      return { value: energy + addGivens(slope, chances, clamped ?? [], this.translation), slope }
    })
  }

  /** dE/dy, [K, W]; zero at given positions. The direction of a residual energy is D times a gradient. */
  private gradientOf(
    from: Float32Array | Float64Array,
    to: Float32Array,
    clamped: readonly number[] | undefined,
  ): Float64Array {
    const { model } = this.opened.engine
    const width = stateWidth(model)
    const unit = model.energy.kind === 'residual' ? model.dim : 1
    return Float64Array.from(from, (y, j) => {
      const moves = (clamped?.[Math.floor(j / width)] ?? BLANK) === BLANK
      return moves ? (y - (to[j] as number)) / unit : 0
    })
  }

  /** The index of a context that holds what comes before the present answer. */
  private async observe(context: TermContext, before: readonly number[]): Promise<number> {
    const { engine, tokenizer } = this.opened
    const { bos } = tokenizer
    const wanted = [...(bos === undefined ? [] : [bos]), ...context.prompt, ...before]
    const known = this.contexts.get(context) ?? { id: this.roomForContext(), tokens: [] }
    const { id, tokens: held } = known
    this.contexts.delete(context)
    const differs = wanted.findIndex((token, i) => token !== held[i])
    const from = differs < 0 ? wanted.length : differs
    if (from < wanted.length || held.length > wanted.length) {
      const first = Math.min(from, wanted.length - 1)
      const row = { contextId: id, tokens: wanted.slice(first), pages: pagesOf(engine, id) }
      try {
        await engine.observe([{ ...row, ...(first > 0 && { from: first }) }])
      } catch (error) {
        this.freed.push(id)
        engine.release(id)
        throw error
      }
    }
    this.contexts.set(context, { id, tokens: wanted })
    return id
  }

  /** A context that no term has, or that of the term which was asked for least recently. */
  private roomForContext(): number {
    const { engine } = this.opened
    const freed = this.freed.pop()
    if (freed !== undefined) return freed
    const [oldest] = this.contexts
    if (!oldest) throw new RangeError('an engine for terms needs a context for each slot')
    const [context, { id }] = oldest
    this.contexts.delete(context)
    engine.release(id)
    return id
  }
}

/** Every context has the same number of pages, so none waits for another. */
function pagesOf({ capacity: { contexts, pages } }: EnergyEngine, contextId: number): number[] {
  const each = Math.floor(pages / contexts)
  return Array.from({ length: each }, (_, page) => contextId * each + page)
}

/** A position of an answer at rest: where it stands, [D], and the token that it is read out as, with its chance. */
interface RestingPosition {
  readonly point: Float32Array
  readonly token: number
  readonly chance: number
}

/**
 * The vectors that stand for the tokens of a model of latent answers: where its answers come to rest when they are
 * surely read out as that token, in the mean over some descents from noise. Embeddings and rows of the
 * read-out are elsewhere, and a model that has never seen an answer there says little about it. Where some
 * token is never read out, as with large vocabularies, all of them are rows of the read-out, as long as
 * answers at rest are.
 */
async function standingVectors(opened: OpenedModel): Promise<Float32Array[]> {
  const { engine, tokenizer } = opened
  const { model } = engine
  const rests = await restingPositions(opened)
  const means = meansByToken(
    rests.filter(({ chance }) => chance >= SURE),
    model.dim,
  )
  const all = Array.from({ length: model.vocab_size }, (_, token) => token)
  const ordinary = Array.from(ordinaryTokens(tokenizer), ({ id }) => id)
  if (ordinary.every((token) => means.has(token)))
    return all.map((token) => means.get(token) ?? new Float32Array(model.dim))
  const rows = (await engine.tokenVectors?.(all)) ?? []
  const lengthOf = (vectors: readonly Float32Array[]): number =>
    Math.hypot(...vectors.map((vector) => Math.hypot(...vector))) / Math.sqrt(vectors.length)
  const scale =
    lengthOf(rests.map(({ point }) => point)) /
    lengthOf(ordinary.flatMap((token) => rows[token] ?? []))
  return rows.map((row) => row.map((x) => scale * x))
}

/** Of descents with nothing given, and of as many for the example of the model's template, if it has one. */
async function restingPositions(opened: OpenedModel): Promise<RestingPosition[]> {
  const { engine, tokenizer } = opened
  const { template } = engine.model
  const tokens = [tokenizer.bos ?? 0]
  await engine.observe([{ contextId: 0, tokens, pages: pagesOf(engine, 0) }])
  const example =
    template?.example === undefined
      ? undefined
      : encodeTemplate(tokenizer, template.example, template.blank)
  const isWhole = example?.length === engine.model.answer.block
  const found = []
  for (const clamped of isWhole ? [undefined, example] : [undefined])
    for (let from = 0; from < PROBES; from += engine.capacity.slots)
      found.push(...(await restingTogether(engine, clamped, from)))
  engine.release(0)
  return found
}

/** Of the descents from number `from` on, as many as there are slots: positions that move. */
async function restingTogether(
  engine: EnergyEngine,
  clamped: readonly number[] | undefined,
  from: number,
): Promise<RestingPosition[]> {
  const { capacity, model } = engine
  const length = Math.min(PROBES - from, capacity.slots)
  const slots = Array.from({ length }, (_, slot) => slot)
  const given = clamped && { clamped }
  await engine.begin(
    slots.map((slot) => ({
      slot,
      contextId: 0,
      seed: PROBE_SEED,
      candidate: from + slot,
      ...given,
    })),
  )
  for (let step = 0; step < model.steps; step++) {
    const landscape = landscapeOf(model, step)
    const noise = step === 0 ? 1 : 0
    await engine.descend(slots.map((slot) => ({ slot, landscape, step, noise })))
  }
  const states = await engine.points(slots.map((slot) => ({ slot, which: 'present' })))
  const readouts = await engine.read(slots.map((slot) => ({ slot, which: 'last', top: 1 })))
  return states.flatMap((state, i) =>
    Array.from(readouts[i]?.tokens ?? [], (token, position) => ({
      token,
      position,
      chance: Math.exp(readouts[i]?.logProbs[position] ?? -Infinity),
      point: state.slice(position * model.dim, (position + 1) * model.dim),
    })).filter(({ position }) => (clamped?.[position] ?? BLANK) === BLANK),
  )
}

/** The mean point of each token that was read out, [D]. */
function meansByToken(rests: readonly RestingPosition[], dim: number): Map<number, Float32Array> {
  const byToken = new Map<number, Float32Array[]>()
  for (const { point, token } of rests) byToken.set(token, [...(byToken.get(token) ?? []), point])
  return new Map(
    Array.from(byToken, ([token, points]) => [
      token,
      Float32Array.from({ length: dim }, (_, d) =>
        points.reduce((sum, point) => sum + (point[d] as number) / points.length, 0),
      ),
    ]),
  )
}

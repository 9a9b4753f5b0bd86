/**
 * The transformer of docs/mathematics.md in TensorFlow.js ops: the observed stream and the candidate
 * stream over the same weights, and the read-outs on top. Written once; used by the engine, which is
 * the specification of every other engine, and by the trainer.
 *
 * Shapes: B rows, N positions, M answers of K positions in one row (N = M K), H heads of width d,
 * D = H d, T observed positions.
 */
import { BasinError } from '../../errors.js'
import { contextOffset, type ModelConfig } from '../../model/config.js'
import type { Tensor, Tf } from './backend.js'
import { fused } from './fused.js'
import { constant, numbers, type Num, type Numbers } from './numbers.js'

export type Weights = ReadonlyMap<string, Tensor>

/** Keys (rotated) and values of one layer: [B, H, T, d]. */
export interface LayerContext {
  k: Tensor
  v: Tensor
}

/** What the candidate stream attends to besides its own answer. */
export interface Context {
  layers: readonly LayerContext[]
  /** Added to the scores: 0 where a candidate may look, -1e9 where not. [B or 1, 1, N or 1, T]. */
  mask: Tensor | null
  /** Where drafts come from it: the last layer's output at the token before each candidate, [B, N, D]. */
  hidden: Tensor | null
}

/** cos and sin of the rotary angles, [B or 1, N, 1, d]. */
interface Angles {
  cos: Tensor
  sin: Tensor
}

export interface Rotary extends Angles {
  /** Times d^-1/2: attention's scale is applied to the queries. */
  queries: Angles
}

const masked = -1e9

export class Network {
  readonly tf: Tf
  readonly config: ModelConfig
  readonly num: Numbers
  readonly weights: Weights
  private readonly headWidth: number
  /** x R swaps each rotary pair (a, b) into (-b, a). */
  private readonly pairSwap: Tensor
  private readonly angles: Tensor

  constructor(tf: Tf, config: ModelConfig, weights: Weights) {
    this.tf = tf
    this.config = config
    this.weights = weights
    this.num = numbers(tf)
    this.headWidth = config.dim / config.heads
    this.pairSwap = tf.keep(this.makePairSwap())
    this.angles = tf.keep(this.makeAngles())
  }

  weight(name: string): Tensor {
    const tensor = this.weights.get(name)
    if (!tensor)
      throw new BasinError('invalid_checkpoint', {
        path: this.config.name,
        reason: `${name} is missing`,
      })
    return tensor
  }

  /** Token embeddings, [...shape, D]. */
  embed(tokens: Tensor): Tensor {
    return this.tf.gather(this.weight('embeddings.weight'), tokens)
  }

  /** Step embeddings of each row's landscape: [B, 1, D]. */
  stepEmbedding(landscapes: readonly number[]): Tensor {
    const ids = this.tf.tensor1d([...landscapes], 'int32')
    return this.tf.expandDims(
      this.tf.gather(this.weight('transformer.time_embeddings.weight'), ids),
      1,
    )
  }

  /** `positions` is [rows][N]; equal rows may be given once and broadcast. */
  rotary(positions: readonly (readonly number[])[]): Rotary {
    const { tf } = this
    const rows = positions.length
    const n = positions[0]?.length ?? 0
    const flat = tf.tensor1d(positions.flat(), 'int32')
    const pair = tf.reshape(tf.gather(this.angles, flat), [rows, n, 2, 1, this.headWidth])
    const [cos, sin] = tf.unstack(pair, 2) as [Tensor, Tensor]
    const scale = this.headWidth ** -0.5
    return { cos, sin, queries: { cos: tf.mul(cos, scale), sin: tf.mul(sin, scale) } }
  }

  /**
   * The observed stream over N new positions after `past` ones. `x` [B, N, D] are embeddings.
   * Returns the last layer's output and the new keys and values of every layer.
   */
  observe(
    x: Tensor,
    past: readonly LayerContext[] | null,
    rotary: Rotary,
    step: Tensor | null,
  ): { hidden: Tensor; layers: LayerContext[] } {
    const { tf } = this
    const n = x.shape[1] as number
    const known = past?.[0]?.k.shape[2] ?? 0
    const mask = n === 1 ? null : this.causalMask(n, known)
    const layers: LayerContext[] = []
    let h = constant(x)
    for (let i = 0; i < this.config.layers; i++) {
      const before = past?.[i]
      h = this.block(i, h, rotary, step, (q, k, v) => {
        layers.push({ k: k.value, v: v.value })
        const keys = before ? tf.concat([before.k, k.value], 2) : k.value
        const values = before ? tf.concat([before.v, v.value], 2) : v.value
        const scores = tf.matMul(q.value, keys, false, true)
        return constant(tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), values))
      })
    }
    return { hidden: h.value, layers }
  }

  /**
   * The candidate stream: `x` [B, N, D] attends to `context` and within answers of `block` positions.
   * Returns norm(h) (adaptive with adaLN), [B, N, D], ready for a head or a read-out.
   */
  candidates(
    x: Num,
    block: number,
    context: Context | null,
    rotary: Rotary,
    step: Tensor | null,
  ): Num {
    let h = x
    for (let i = 0; i < this.config.layers; i++) {
      const seen = context?.layers[i]
      h = this.block(i, h, rotary, step, (q, k, v) =>
        seen ? this.attendBoth(q, k, v, block, seen, context.mask) : this.attendOwn(q, k, v, block),
      )
    }
    const { num } = this
    const normed = num.rmsNorm(h, this.weight('transformer.norm.weight'), this.config.norm_eps)
    if (this.config.conditioning !== 'adaln' || !step) return normed
    const [shift, scale] = this.modulation('transformer.final_layer', step, 2) as [Tensor, Tensor]
    return this.modulate(normed, shift, scale)
  }

  /** sum_i norm(h_i) of an observed stream h [1, N, D]: [D]. */
  sumOfStates(h: Tensor): Tensor {
    const { config, num, tf } = this
    const normed = num.rmsNorm(constant(h), this.weight('transformer.norm.weight'), config.norm_eps)
    return tf.sum(normed.value, [0, 1])
  }

  /** head(h) per position, [B, N]. */
  head(h: Num): Num {
    const name =
      this.config.conditioning === 'adaln'
        ? 'transformer.final_layer.linear.weight'
        : 'transformer.final_layer.weight'
    return this.num.each(this.num.linear(h, this.weight(name)), (t) => this.tf.squeeze(t, [2]))
  }

  /** F: the network's own opinion of the answer, [B, N, D]. */
  opinion(h: Num): Num {
    return this.num.linear(h, this.weight('answer.opinion.weight'))
  }

  /** The observed stream's own opinion of the token that follows, [B, N, D]. */
  causalOpinion(hidden: Tensor): Tensor {
    const { num, config } = this
    const h = num.rmsNorm(constant(hidden), this.weight('transformer.norm.weight'), config.norm_eps)
    const name = config.answer.anchor ? 'answer.draft.weight' : 'answer.opinion.weight'
    return num.linear(h, this.weight(name)).value
  }

  /** logits of answer representations, [B, N, V]. */
  readout(r: Tensor): Tensor {
    return this.num.linear(constant(r), this.weight('answer.readout.weight')).value
  }

  /** Candidate inputs in latent space: y + blank + query; y [B, N, D] with N = M K. */
  latentInput(y: Num): Num {
    const mark = this.tf.add(this.queries(y.value), this.weight('answer.blank.weight'))
    return this.num.add(y, constant(mark))
  }

  /** Inputs of clamped positions: token embedding, plus the position query in latent space. */
  clampedInput(tokens: Tensor): Tensor {
    const embedded = this.embed(tokens)
    return this.config.answer.space === 'latent'
      ? this.tf.add(embedded, this.queries(embedded))
      : embedded
  }

  /** e = W p for probabilities (or raw states) p [B, N, V]. */
  vocabInput(p: Num): Num {
    if (this.config.answer.embed === 'vocab_to_embed')
      return this.num.linear(p, this.weight('vocab_to_embed.weight'))
    const table = this.weight('embeddings.weight')
    return this.num.each(p, (t) => {
      const flat = this.tf.matMul(this.tf.reshape(t, [-1, this.config.vocab_size]), table)
      return this.tf.reshape(flat, [...t.shape.slice(0, -1), this.config.dim])
    })
  }

  /** Frees what the network itself holds; the weights belong to the caller. */
  dispose(): void {
    this.pairSwap.dispose()
    this.angles.dispose()
  }

  private block(
    i: number,
    x: Num,
    rotary: Rotary,
    step: Tensor | null,
    attend: (q: Num, k: Num, v: Num) => Num,
  ): Num {
    const { num, config } = this
    const at = `transformer.layers.${String(i)}`
    const w = (name: string) => this.weight(`${at}.${name}.weight`)
    const six = config.conditioning === 'adaln' && step ? this.modulation(at, step, 6) : null
    const adapt = (y: Num, shift: number) =>
      six ? this.modulate(y, six[shift] as Tensor, six[shift + 1] as Tensor) : y
    const gated = (y: Num, g: number) => (six ? num.mul(y, constant(six[g] as Tensor)) : y)

    const a = adapt(num.rmsNorm(x, w('attention_norm'), config.norm_eps), 0)
    const q = this.rotatedHeads(this.split(num.linear(a, w('attention.wq'))), rotary.queries)
    const k = this.rotatedHeads(this.split(num.linear(a, w('attention.wk'))), rotary)
    const v = this.heads(this.split(num.linear(a, w('attention.wv'))))
    const attended = num.linear(this.merge(attend(q, k, v)), w('attention.wo'))
    const h = num.add(x, gated(attended, 2))

    const f = adapt(num.rmsNorm(h, w('ffn_norm'), config.norm_eps), 3)
    const hidden = num.gate(
      num.linear(f, w('feed_forward.w1')),
      num.linear(f, w('feed_forward.w3')),
    )
    return num.add(h, gated(num.linear(hidden, w('feed_forward.w2')), 5))
  }

  /** Attention over the context and the answer's own K positions under one softmax. */
  private attendBoth(
    q: Num,
    k: Num,
    v: Num,
    block: number,
    context: LayerContext,
    mask: Tensor | null,
  ): Num {
    const { num } = this
    const scores = num.matMul(q, constant(context.k), true)
    const [weights, ownWeights] = num.softmaxOfTwo(scores, mask, this.ownScores(q, k, block))
    return num.add(num.matMul(weights, constant(context.v)), this.ownValues(ownWeights, v, block))
  }

  private attendOwn(q: Num, k: Num, v: Num, block: number): Num {
    return this.ownValues(this.num.softmax(this.ownScores(q, k, block)), v, block)
  }

  /** Scores of each position against its own answer: [B, H, N, K]. */
  private ownScores(q: Num, k: Num, block: number): Num {
    const { num, tf } = this
    if (block === 1) return num.sum(num.mul(q, k), 3, true)
    const scores = num.matMul(this.byAnswer(q, block), this.byAnswer(k, block), true)
    return num.each(scores, (x) => tf.reshape(x, [...q.value.shape.slice(0, 3), block]))
  }

  private ownValues(weights: Num, v: Num, block: number): Num {
    const { num, tf } = this
    if (block === 1) return num.mul(weights, v)
    const mixed = num.matMul(this.byAnswer(weights, block), this.byAnswer(v, block))
    return num.each(mixed, (x) => tf.reshape(x, v.value.shape))
  }

  /** [B, H, M K, x] -> [B, H M, K, x]. */
  private byAnswer(x: Num, block: number): Num {
    const [b, h, n, width] = x.value.shape as [number, number, number, number]
    return this.num.each(x, (t) => this.tf.reshape(t, [b, (h * n) / block, block, width]))
  }

  /** [B, N, D] -> [B, N, H, d] */
  private split(x: Num): Num {
    const [b, n] = x.value.shape as [number, number, number]
    return this.num.each(x, (t) => this.tf.reshape(t, [b, n, this.config.heads, this.headWidth]))
  }

  /** [B, N, H, d] -> [B, H, N, d] */
  private heads(x: Num): Num {
    return this.num.each(x, (t) => this.tf.transpose(t, [0, 2, 1, 3]))
  }

  /** [B, H, N, d] -> [B, N, D] */
  private merge(x: Num): Num {
    const [b, , n] = x.value.shape as [number, number, number, number]
    return this.num.each(x, (t) =>
      this.tf.reshape(this.tf.transpose(t, [0, 2, 1, 3]), [b, n, this.config.dim]),
    )
  }

  /** Rotary embedding of [B, N, H, d], as [B, H, N, d]. */
  private rotatedHeads(x: Num, { cos, sin }: Angles): Num {
    const { tf, headWidth } = this
    const rotated = (t: Tensor): Tensor => {
      const whole = fused(tf, 'BasinRotate', { x: t, cos, sin }, { back: false })
      if (whole) return whole
      const swapped = tf.matMul(tf.reshape(t, [-1, headWidth]), this.pairSwap)
      return tf.add(tf.mul(t, cos), tf.mul(tf.reshape(swapped, t.shape), sin))
    }
    return this.num.each(
      x,
      (t) =>
        fused(tf, 'BasinRotateHeads', { x: t, cos, sin }, { back: false }) ??
        tf.transpose(rotated(t), [0, 2, 1, 3]),
    )
  }

  /** W silu(step) + b, cut into `parts` tensors [B, 1, D]. */
  private modulation(at: string, step: Tensor, parts: number): Tensor[] {
    const { tf, num } = this
    const active = constant(tf.mul(step, tf.sigmoid(step)))
    const all = num.linear(active, this.weight(`${at}.adaLN_modulation.1.weight`)).value
    return tf.split(tf.add(all, this.weight(`${at}.adaLN_modulation.1.bias`)), parts, 2)
  }

  /** x (1 + scale) + shift */
  private modulate(x: Num, shift: Tensor, scale: Tensor): Num {
    const { num, tf } = this
    return num.add(num.mul(x, constant(tf.add(scale, 1))), constant(shift))
  }

  /** Position queries repeated for every answer in the row: [1, N, D]. */
  private queries(like: Tensor): Tensor {
    const { tf, config } = this
    const n = like.shape[1] as number
    const query = this.weight('answer.query.weight')
    const k = Math.min(n, config.answer.block)
    const used = k === config.answer.block ? query : tf.slice(query, [0, 0], [k, -1])
    return tf.expandDims(k === n ? used : tf.tile(used, [n / k, 1]), 0)
  }

  private causalMask(n: number, known: number): Tensor {
    const data = new Float32Array(n * (known + n))
    for (let i = 0; i < n; i++)
      data.fill(masked, i * (known + n) + known + i + 1, (i + 1) * (known + n))
    return this.tf.tensor(data, [1, 1, n, known + n])
  }

  private makePairSwap(): Tensor {
    const d = this.headWidth
    const data = new Float32Array(d * d)
    for (let i = 0; i < d; i += 2) {
      data[(i + 1) * d + i] = -1
      data[i * d + i + 1] = 1
    }
    return this.tf.tensor(data, [d, d])
  }

  /** cos and sin by position: [positions, 2 d]. */
  private makeAngles(): Tensor {
    const d = this.headWidth
    const positions =
      this.config.context_length + this.config.answer.block + contextOffset(this.config)
    const data = new Float32Array(positions * 2 * d)
    for (let p = 0; p < positions; p++)
      for (let i = 0; i < d; i++) {
        const angle = p * this.config.rope_theta ** (-(i - (i % 2)) / d)
        data[p * 2 * d + i] = Math.cos(angle)
        data[p * 2 * d + d + i] = Math.sin(angle)
      }
    return this.tf.tensor(data, [positions, 2 * d])
  }
}

/** -1e9 where a row may not look. `visible[row][n]`: how many observed positions it sees, of T. */
export function prefixMask(tf: Tf, visible: readonly (readonly number[])[], t: number): Tensor {
  const n = visible[0]?.length ?? 0
  const data = new Float32Array(visible.length * n * t)
  visible.forEach((row, b) => {
    row.forEach((seen, i) => data.fill(masked, (b * n + i) * t + seen, (b * n + i + 1) * t))
  })
  return tf.tensor(data, [visible.length, 1, n, t])
}

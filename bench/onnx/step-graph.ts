/**
 * One descent step of a checkpoint as an ONNX graph: the energy of B answers of K positions and their next state,
 * as docs/mathematics.md defines them. Where descent needs a gradient, the graph holds the backward pass too, since
 * ONNX Runtime computes no gradients. It uses the fused ops that ONNX Runtime has (norms, rotations, attention), and each
 * matrix stands in the order in which a product reads it.
 *
 * Inputs: `state` [B, K, W] and `alpha` []; where K > 1, `known` [B, K, D], the inputs of clamped positions with zeros
 * elsewhere, and `moving` [B, K, 1], 1 where a position moves; where opinions correct a draft, `anchor` [B, K, D], A y_0;
 * with a context, keys and values of each layer. Results: `next` [B, K, W], `energy` [B], and `norm` [B], the length of
 * the direction.
 *
 * Shapes: B answers, K positions, H heads of width d, D = H d, T observed positions, V vocabulary.
 */
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { OnnxGraph, type Value } from './onnx-graph.js'

/** A norm with what its gradient needs: x, w, and 1 / root mean square [B, K, 1]. */
interface Norm {
  x: Value
  y: Value
  weight: Value
  inverse: Value
}

interface Attention {
  q: Value
  k: Value
  v: Value
  /** Softmax weights over the context [B, H, K, T], where there is one, and over the answer [B, H, K, K]. */
  weights: { context?: Value; own: Value }
}

interface Layer {
  attentionNorm: Norm
  attention?: Attention
  ffnNorm: Norm
  a: Value
  b: Value
}

/** Names of the keys [B, H, d, T] and values [B, H, T, d] of a layer's context. */
export const contextNames = (layer: number) => ({ keys: `keys${layer}`, values: `values${layer}` })

/** Whether the step of a model can be written as a graph, or why not. */
export function whyNoGraph({ config }: Checkpoint): string | undefined {
  if (config.conditioning !== 'none') return 'it has several landscapes'
  if (
    config.energy.kind === 'potential' ||
    (config.energy.kind === 'residual') !== (config.energy.direction === 'amortized')
  )
    return 'its energy is neither a head in vocabulary space nor an amortized residual'
  if (
    config.energy.kind === 'head' &&
    (config.answer.space !== 'vocab' || config.answer.normalize !== 'every_step')
  )
    return 'its state is not a softmax over the vocabulary in every step'
  return undefined
}

export function stepGraph(checkpoint: Checkpoint, context: number): Uint8Array {
  return new StepGraph(checkpoint, context).build()
}

class StepGraph {
  private readonly graph = new OnnxGraph()
  private readonly config
  private readonly block
  private readonly headWidth
  private readonly gradient
  private readonly positions: Value
  private readonly cos: Value
  private readonly sin: Value
  /** Sines of the rotations back; where descent needs a gradient. */
  private readonly sinBack: Value

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly context: number,
  ) {
    this.config = checkpoint.config
    this.block = this.config.answer.block
    this.headWidth = this.config.dim / this.config.heads
    this.positions = this.graph.list(0)
    const angles = Float64Array.from({ length: (this.block * this.headWidth) / 2 }, (_, i) => {
      const pair = i % (this.headWidth / 2)
      const position = context + (i - pair) / (this.headWidth / 2)
      return position * this.config.rope_theta ** ((-2 * pair) / this.headWidth)
    })
    const table = (f: (angle: number) => number) =>
      this.graph.constant(Float32Array.from(angles, f), [this.block, this.headWidth / 2])
    this.cos = table(Math.cos)
    this.sin = table(Math.sin)
    this.gradient = this.config.energy.kind !== 'residual'
    this.sinBack = this.gradient ? table((angle) => -Math.sin(angle)) : ''
  }

  build(): Uint8Array {
    if (this.config.answer.space === 'vocab') this.vocabStep()
    else this.latentStep()
    return this.graph.bytes()
  }

  /** z -> softmax(z) - alpha dE/dp with E = sum_i head(norm(h_i)). */
  private vocabStep(): void {
    const { graph, config, block } = this
    const shape = ['B', block, config.vocab_size]
    const p = graph.op('Softmax', [graph.input('state', shape)], { axis: -1 })
    const alpha = graph.input('alpha', [])
    const own = config.answer.embed === 'vocab_to_embed'
    const name = own ? 'vocab_to_embed.weight' : 'embeddings.weight'
    // vocab_to_embed is stored [D, V], token embeddings [V, D].
    const [into, back] = own
      ? [this.turned([name]), this.stored([name])]
      : [this.stored([name]), this.turned([name])]
    const { h, layers } = this.forward(graph.op('MatMul', [p, into]))
    const norm = this.norm(h, 'transformer.norm.weight')
    const head = this.weight('transformer.final_layer.weight')
    const energies = graph.op('MatMul', [norm.y, graph.constant(head, [config.dim, 1])])
    const energy = graph.op('ReduceSum', [energies, graph.list(1, 2)], { keepdims: 0 })
    const slope = graph.op('MatMul', [this.backward(norm, head, layers), back])
    this.results(energy, slope, p, alpha, shape)
  }

  /** y -> y - alpha (y - F) with E = 1/2 |y - F|^2 / D + doubt H(softmax(U F)). */
  private latentStep(): void {
    const { graph, config, block } = this
    const shape = ['B', block, config.dim]
    const y = graph.input('state', shape)
    const alpha = graph.input('alpha', [])
    const mark = Float32Array.from(
      this.weight('answer.query.weight'),
      (x, i) => x + (this.weight('answer.blank.weight')[i % config.dim] as number),
    )
    let x = graph.op('Add', [y, graph.constant(mark, [block, config.dim])])
    const moving = block > 1 ? graph.input('moving', ['B', block, 1]) : undefined
    if (moving !== undefined) {
      const known = graph.input('known', ['B', block, config.dim])
      x = graph.op('Add', [graph.op('Mul', [x, moving]), known])
    }
    const { h } = this.forward(x)
    const normed = this.norm(h, 'transformer.norm.weight').y
    let opinion = graph.op('MatMul', [normed, this.turned(['answer.opinion.weight'])])
    if (config.answer.anchor)
      opinion = graph.op('Add', [opinion, graph.input('anchor', ['B', block, config.dim])])
    const only = (value: Value) => (moving === undefined ? value : graph.op('Mul', [value, moving]))
    const direction = only(graph.op('Sub', [y, opinion]))
    const total = (value: Value) =>
      graph.op('ReduceSum', [value, graph.list(1, 2)], { keepdims: 0 })
    const squares = total(graph.op('Mul', [direction, direction]))
    const logits = graph.op('MatMul', [opinion, this.turned(['answer.readout.weight'])])
    const logProbs = graph.op('LogSoftmax', [logits], { axis: -1 })
    const informations = graph.op('Mul', [graph.op('Exp', [logProbs]), logProbs])
    const negativeDoubt = total(only(informations))
    const energy = graph.op('Sub', [
      graph.op('Mul', [squares, graph.scalar(0.5 / config.dim)]),
      graph.op('Mul', [negativeDoubt, graph.scalar(config.energy.doubt)]),
    ])
    this.results(energy, direction, y, alpha, shape)
  }

  private results(
    energy: Value,
    direction: Value,
    base: Value,
    alpha: Value,
    shape: (number | string)[],
  ): void {
    const { graph } = this
    const next = graph.op('Sub', [base, graph.op('Mul', [direction, alpha])])
    const norm = graph.op('ReduceL2', [direction], { axes: [1, 2], keepdims: 0 })
    graph.output('next', next, shape)
    graph.output('energy', energy, ['B'])
    graph.output('norm', norm, ['B'])
  }

  /** The layers over the candidates' inputs x [B, K, D]. */
  private forward(x: Value): { h: Value; layers: Layer[] } {
    const { graph, config } = this
    const layers: Layer[] = []
    let h = x
    for (let index = 0; index < config.layers; index++) {
      const at = `transformer.layers.${index}`
      const attentionNorm = this.norm(h, `${at}.attention_norm.weight`)
      const names = ['wq', 'wk', 'wv'].map((w) => `${at}.attention.${w}.weight`)
      const [q, k, v] = this.split(
        graph.op('MatMul', [attentionNorm.y, this.turned(names)]),
        3,
        config.dim,
      ) as [Value, Value, Value]
      const { attended, attention } = this.attend(
        this.rotate(q, this.sin),
        this.rotate(k, this.sin),
        v,
        index,
      )
      h = graph.op('Add', [
        h,
        graph.op('MatMul', [attended, this.turned([`${at}.attention.wo.weight`])]),
      ])
      const ffnNorm = this.norm(h, `${at}.ffn_norm.weight`)
      const gates = [`${at}.feed_forward.w1.weight`, `${at}.feed_forward.w3.weight`]
      const [a, b] = this.split(
        graph.op('MatMul', [ffnNorm.y, this.turned(gates)]),
        2,
        config.ffn_dim,
      ) as [Value, Value]
      const silu = graph.op('Mul', [a, graph.op('Sigmoid', [a])])
      const hidden = graph.op('Mul', [silu, b])
      h = graph.op('Add', [
        h,
        graph.op('MatMul', [hidden, this.turned([`${at}.feed_forward.w2.weight`])]),
      ])
      layers.push({ attentionNorm, ffnNorm, a, b, ...(attention && { attention }) })
    }
    return { h, layers }
  }

  /** dE/dx [B, K, D] for E = sum over positions of <head, norm.y>. */
  private backward(norm: Norm, head: Float32Array, layers: readonly Layer[]): Value {
    const { graph, config } = this
    const one = graph.scalar(1)
    let dh = this.normBack(norm, graph.constant(head, [config.dim]))
    for (let index = config.layers - 1; index >= 0; index--) {
      const { attentionNorm, attention, ffnNorm, a, b } = layers[index] as Required<Layer>
      const at = `transformer.layers.${index}`
      const dHidden = graph.op('MatMul', [dh, this.stored([`${at}.feed_forward.w2.weight`])])
      const s = graph.op('Sigmoid', [a])
      const silu = graph.op('Mul', [a, s])
      const slope = graph.op('Add', [s, graph.op('Mul', [silu, graph.op('Sub', [one, s])])])
      const da = graph.op('Mul', [graph.op('Mul', [dHidden, b]), slope])
      const db = graph.op('Mul', [dHidden, silu])
      const gates = [`${at}.feed_forward.w1.weight`, `${at}.feed_forward.w3.weight`]
      const dGates = graph.op('Concat', [da, db], { axis: -1 })
      const df = graph.op('MatMul', [dGates, this.stored(gates)])
      dh = graph.op('Add', [dh, this.normBack(ffnNorm, df)])
      const dAttended = graph.op('MatMul', [dh, this.stored([`${at}.attention.wo.weight`])])
      const { dq, dk, dv } = this.attendBack(attention, dAttended, index)
      const dQkv = graph.op(
        'Concat',
        [this.rotate(dq, this.sinBack), this.rotate(dk, this.sinBack), dv],
        { axis: -1 },
      )
      const names = ['wq', 'wk', 'wv'].map((w) => `${at}.attention.${w}.weight`)
      const da1 = graph.op('MatMul', [dQkv, this.stored(names)])
      dh = graph.op('Add', [dh, this.normBack(attentionNorm, da1)])
    }
    return dh
  }

  private norm(x: Value, name: string): Norm {
    const weight = this.graph.constant(this.weight(name), [this.config.dim])
    const attributes = { axis: -1, epsilon: { float: this.config.norm_eps } }
    const [y, inverse] = this.graph.ops(
      'SimplifiedLayerNormalization',
      [x, weight],
      attributes,
      2,
    ) as [Value, Value]
    return { x, y, weight, inverse }
  }

  /** r (u - n mean(u n)) with u = dy w, n = x r. */
  private normBack({ x, weight, inverse }: Norm, dy: Value): Value {
    const { graph } = this
    const u = graph.op('Mul', [dy, weight])
    const n = graph.op('Mul', [x, inverse])
    const mean = graph.op('ReduceMean', [graph.op('Mul', [u, n])], { axes: [-1], keepdims: 1 })
    return graph.op('Mul', [graph.op('Sub', [u, graph.op('Mul', [n, mean])]), inverse])
  }

  /** Rotates x [B, K, D]; with the sines turned around, the transpose of that. */
  private rotate(x: Value, sin: Value): Value {
    const inputs = [x, this.positions, this.cos, sin]
    return this.graph.op('RotaryEmbedding', inputs, {
      interleaved: 1,
      num_heads: this.config.heads,
    })
  }

  /** Attention of q, k, v [B, K, D] within the answer and over the context, [B, K, D]. */
  private attend(
    q: Value,
    k: Value,
    v: Value,
    index: number,
  ): { attended: Value; attention?: Attention } {
    const { graph, config, context } = this
    if (context === 0 && !this.gradient)
      return { attended: graph.op('MultiHeadAttention', [q, k, v], { num_heads: config.heads }) }
    const factor = { alpha: { float: this.headWidth ** -0.5 } }
    const [queries, keys, values] = [q, k, v].map((x) => this.byHead(x)) as [Value, Value, Value]
    const ownScores = graph.op('FusedMatMul', [queries, keys], { ...factor, transB: 1 })
    if (context === 0) {
      const own = graph.op('Softmax', [ownScores], { axis: -1 })
      const attended = this.merged(graph.op('MatMul', [own, values]))
      return { attended, attention: { q: queries, k: keys, v: values, weights: { own } } }
    }
    const names = contextNames(index)
    const contextKeys = graph.input(names.keys, ['B', config.heads, this.headWidth, context])
    const contextValues = graph.input(names.values, ['B', config.heads, context, this.headWidth])
    const scores = graph.op('FusedMatMul', [queries, contextKeys], factor)
    const all = graph.op('Concat', [scores, ownScores], { axis: -1 })
    const weights = graph.op('Softmax', [all], { axis: -1 })
    const [seen, own] = graph.ops(
      'Split',
      [weights, graph.list(context, this.block)],
      { axis: -1 },
      2,
    ) as [Value, Value]
    const sum = graph.op('Add', [
      graph.op('MatMul', [seen, contextValues]),
      graph.op('MatMul', [own, values]),
    ])
    const attention = { q: queries, k: keys, v: values, weights: { context: seen, own } }
    return { attended: this.merged(sum), attention }
  }

  /** Gradients of q, k and v [B, K, D] from that of the attended values. */
  private attendBack(
    { q, k, v, weights }: Attention,
    dAttended: Value,
    index: number,
  ): Record<'dq' | 'dk' | 'dv', Value> {
    const { graph } = this
    const factor = { alpha: { float: this.headWidth ** -0.5 } }
    const dOut = this.byHead(dAttended)
    const { keys, values } = contextNames(index)
    const along = (p: Value, slopes: Value) =>
      graph.op('ReduceSum', [graph.op('Mul', [p, slopes]), graph.list(-1)], { keepdims: 1 })
    const ownSlopes = graph.op('FusedMatMul', [dOut, v], { transB: 1 })
    let delta = along(weights.own, ownSlopes)
    const scoreSlope = (p: Value, slopes: Value, sum: Value) =>
      graph.op('Mul', [p, graph.op('Sub', [slopes, sum])])
    let contextSlopes: Value | undefined
    if (weights.context !== undefined) {
      contextSlopes = graph.op('FusedMatMul', [dOut, values], { transB: 1 })
      delta = graph.op('Add', [delta, along(weights.context, contextSlopes)])
    }
    const dOwn = scoreSlope(weights.own, ownSlopes, delta)
    let dq = graph.op('FusedMatMul', [dOwn, k], factor)
    if (weights.context !== undefined && contextSlopes !== undefined) {
      const dContext = scoreSlope(weights.context, contextSlopes, delta)
      dq = graph.op('Add', [
        dq,
        graph.op('FusedMatMul', [dContext, keys], { ...factor, transB: 1 }),
      ])
    }
    return {
      dq: this.merged(dq),
      dk: this.merged(graph.op('FusedMatMul', [dOwn, q], { ...factor, transA: 1 })),
      dv: this.merged(graph.op('FusedMatMul', [weights.own, dOut], { transA: 1 })),
    }
  }

  /** [B, K, D] -> [B, H, K, d]. */
  private byHead(x: Value): Value {
    const { graph, config, block } = this
    const cut = graph.op('Reshape', [x, graph.list(-1, block, config.heads, this.headWidth)])
    return graph.op('Transpose', [cut], { perm: [0, 2, 1, 3] })
  }

  /** [B, H, K, d] -> [B, K, D]. */
  private merged(x: Value): Value {
    const turned = this.graph.op('Transpose', [x], { perm: [0, 2, 1, 3] })
    return this.graph.op('Reshape', [turned, this.graph.list(-1, this.block, this.config.dim)])
  }

  private split(x: Value, parts: number, width: number): Value[] {
    const sizes = this.graph.list(...Array.from({ length: parts }, () => width))
    return this.graph.ops('Split', [x, sizes], { axis: -1 }, parts)
  }

  private weight(name: string): Float32Array {
    const tensor = this.checkpoint.tensors.get(name)
    if (!tensor) throw new Error(`the checkpoint has no ${name}`)
    return tensor.data
  }

  /** Matrices of one width, one below the other, as they are stored: [rows, columns]. */
  private stack(names: readonly string[]): { data: Float32Array; rows: number; columns: number } {
    const parts = names.map((name) => this.weight(name))
    const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      data.set(part, at)
      at += part.length
    }
    const columns = this.checkpoint.tensors.get(names[0] ?? '')?.shape[1] ?? 0
    return { data, rows: data.length / columns, columns }
  }

  private stored(names: readonly string[]): Value {
    const { data, rows, columns } = this.stack(names)
    return this.graph.constant(data, [rows, columns])
  }

  /** The transpose of `stored`, by which x W^T is a plain product. */
  private turned(names: readonly string[]): Value {
    const { data, rows, columns } = this.stack(names)
    const turned = new Float32Array(data.length)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        turned[column * rows + row] = data[row * columns + column] as number
    return this.graph.constant(turned, [columns, rows])
  }
}

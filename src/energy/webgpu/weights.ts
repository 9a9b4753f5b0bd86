/**
 * A checkpoint's matrices as products read them: [depth][columns], padded, so that neighbouring threads
 * read neighbouring columns. What does not depend on an answer is folded in: the weights of norms, and
 * adaLN's shifts, whose products with a matrix are biases by landscape.
 */
import { BasinError } from '../../errors.js'
import type { Checkpoint } from '../../model/checkpoint.js'
import type { Memory } from './memory.js'
import type { Shape } from './shape.js'

export interface LayerWeights {
  qkv: GPUBuffer
  out: GPUBuffer
  gates: GPUBuffer
  down: GPUBuffer
  /** Where there is a gradient. */
  back?: { qkv: GPUBuffer; out: GPUBuffer; gates: GPUBuffer; down: GPUBuffer }
  /** adaLN, by landscape: 1 + scale [LD], shift's bias, gate [LD]; before attention and before the gates. */
  adaptive?: {
    scale: [GPUBuffer, GPUBuffer]
    bias: [GPUBuffer, GPUBuffer]
    gate: [GPUBuffer, GPUBuffer]
  }
}

export interface ModelWeights {
  layers: LayerWeights[]
  /** Embeddings of tokens [LDV][LD]. */
  table: GPUBuffer
  /** Queries + blank [K], queries [K] (latent space only), step embeddings [T]: [..][LD] */
  marks: GPUBuffer
  /** cos and sin by position, [positions][d / 2]. */
  angles: GPUBuffer
  /** Latent space: U. */
  readout?: GPUBuffer
  /** Vocab space: embeddings of answers [LDV][LD], and transposed. */
  vocabTable?: GPUBuffer
  vocabBack?: GPUBuffer
  /** Residual: C, and transposed where there is a gradient. */
  opinion?: GPUBuffer
  opinionBack?: GPUBuffer
  /** What drafts are read by. */
  draft?: GPUBuffer
  /** From norm(h) of the observed stream to the draft's part of an opinion. */
  anchor?: GPUBuffer
  /** Head and potential: [T][LD + 4], see `energyParts`. */
  head?: GPUBuffer
  /** adaLN of the last norm: 1 + scale, and the draft's bias. */
  adaptive?: { scale: GPUBuffer; draftBias?: GPUBuffer }
  /** Of the potential. */
  scale: number
}

type Entry = (k: number, c: number) => number

class Packer {
  constructor(
    private readonly shape: Shape,
    private readonly checkpoint: Checkpoint,
    private readonly memory: Memory,
  ) {}

  tensor(name: string): Float32Array {
    const found = this.checkpoint.tensors.get(name)
    if (!found)
      throw new BasinError('invalid_checkpoint', {
        path: this.checkpoint.config.name,
        reason: `${name} is missing`,
      })
    return found.data
  }

  /** Padded to `ld` columns; rows beyond `depth` are zero. */
  matrix(label: string, depth: number, columns: number, ldDepth: number, ld: number, at: Entry) {
    const data = new Float32Array(ldDepth * ld)
    for (let k = 0; k < depth; k++) for (let c = 0; c < columns; c++) data[k * ld + c] = at(k, c)
    return this.memory.upload(label, data)
  }

  /** w [out][into] of the checkpoint, times `norm` [into]. `back`: for products with its transpose. */
  square(label: string, w: Float32Array, norm: Float32Array, back = false): GPUBuffer {
    const { dim, ld } = this.shape
    const value = (o: number, k: number): number => (w[o * dim + k] as number) * (norm[k] as number)
    return this.matrix(label, dim, dim, ld, ld, back ? value : (k, o) => value(o, k))
  }

  layer(index: number): LayerWeights {
    const { adaptive, dim, gradient, ld, ldFfn } = this.shape
    const { ffn_dim: ffn } = this.shape.config
    const at = `transformer.layers.${String(index)}`
    const w = (name: string): Float32Array => this.tensor(`${at}.${name}.weight`)
    const [first, second] = [w('attention_norm'), w('ffn_norm')]
    const mixed = ['wq', 'wk', 'wv'].map((name) => w(`attention.${name}`))
    const inner = ['w1', 'w3'].map((name) => w(`feed_forward.${name}`))
    const [wo, w2] = [w('attention.wo'), w('feed_forward.w2')]
    // Columns of q, k, v stand LD apart; those of the two gates take turns.
    const qkv = (c: number, k: number): number => {
      const o = c % ld
      return o < dim ? (mixed[Math.floor(c / ld)]?.[o * dim + k] as number) : 0
    }
    const gates = (c: number, k: number): number =>
      inner[c % 2]?.[Math.floor(c / 2) * dim + k] as number
    const normed =
      (value: typeof qkv, norm: Float32Array) =>
      (c: number, k: number): number =>
        value(c, k) * (norm[k] as number)
    const turned =
      (value: typeof qkv): Entry =>
      (k, c) =>
        value(c, k)
    const [foldedQkv, foldedGates] = [normed(qkv, first), normed(gates, second)]
    const name = (part: string): string => `${at}, ${part}`
    const layer: LayerWeights = {
      qkv: this.matrix(name('qkv'), dim, 3 * ld, ld, 3 * ld, turned(foldedQkv)),
      out: this.matrix(name('out'), dim, dim, ld, ld, (k, o) => wo[o * dim + k] as number),
      gates: this.matrix(name('gates'), dim, 2 * ffn, ld, 2 * ldFfn, turned(foldedGates)),
      down: this.matrix(name('down'), ffn, dim, ldFfn, ld, (k, o) => w2[o * ffn + k] as number),
    }
    if (gradient)
      layer.back = {
        qkv: this.matrix(name('qkv, back'), 3 * ld, dim, 3 * ld, ld, foldedQkv),
        out: this.matrix(name('out, back'), dim, dim, ld, ld, (o, k) => wo[o * dim + k] as number),
        gates: this.matrix(name('gates, back'), 2 * ffn, dim, 2 * ldFfn, ld, foldedGates),
        down: this.matrix(
          name('down, back'),
          dim,
          ffn,
          ld,
          ldFfn,
          (o, k) => w2[o * ffn + k] as number,
        ),
      }
    if (!adaptive) return layer
    const six = this.modulation(at, 6)
    const part = (i: number) => (t: number, c: number) => six[t]?.[i * dim + c] as number
    const bias = (i: number, columns: number, value: typeof qkv): GPUBuffer =>
      this.byLandscape(name('bias'), columns, columns, (t, c) => {
        let sum = 0
        for (let k = 0; k < dim; k++) sum += part(i)(t, k) * value(c, k)
        return sum
      })
    const scale = (i: number): GPUBuffer =>
      this.byLandscape(name('scale'), dim, ld, (t, c) => 1 + part(i)(t, c))
    const gate = (i: number): GPUBuffer => this.byLandscape(name('gate'), dim, ld, part(i))
    const padded = (c: number, k: number): number => (c < 2 * ffn ? gates(c, k) : 0)
    layer.adaptive = {
      scale: [scale(1), scale(4)],
      bias: [bias(0, 3 * ld, qkv), bias(3, 2 * ldFfn, padded)],
      gate: [gate(2), gate(5)],
    }
    return layer
  }

  /** W silu(step) + b of every landscape, [T][parts D]. */
  modulation(at: string, parts: number): Float64Array[] {
    const { dim, landscapes } = this.shape
    const w = this.tensor(`${at}.adaLN_modulation.1.weight`)
    const b = this.tensor(`${at}.adaLN_modulation.1.bias`)
    const steps = this.tensor('transformer.time_embeddings.weight')
    return Array.from({ length: landscapes }, (_, t) =>
      Float64Array.from({ length: parts * dim }, (_, c) => {
        let sum = b[c] as number
        for (let k = 0; k < dim; k++) {
          const x = steps[t * dim + k] as number
          sum += (w[c * dim + k] as number) * (x / (1 + Math.exp(-x)))
        }
        return sum
      }),
    )
  }

  byLandscape(label: string, columns: number, ld: number, at: Entry): GPUBuffer {
    const { landscapes } = this.shape
    return this.matrix(label, landscapes, columns, landscapes, ld, at)
  }

  angles(): GPUBuffer {
    const { config, headWidth, rotaryPositions } = this.shape
    const data = new Float32Array(rotaryPositions * headWidth)
    for (let p = 0; p < rotaryPositions; p++)
      for (let i = 0; i < headWidth; i += 2) {
        const angle = p * config.rope_theta ** (-i / headWidth)
        data[p * headWidth + i] = Math.cos(angle)
        data[p * headWidth + i + 1] = Math.sin(angle)
      }
    return this.memory.upload('angles', data)
  }

  marks(): GPUBuffer {
    const { block, dim, landscapes, latent, ld } = this.shape
    const steps = this.checkpoint.tensors.get('transformer.time_embeddings.weight')?.data
    const positions = latent ? 2 * block : 0
    const [queries, blank] = latent
      ? [this.tensor('answer.query.weight'), this.tensor('answer.blank.weight')]
      : []
    return this.matrix('marks', positions + landscapes, dim, positions + landscapes, ld, (k, c) => {
      if (k >= positions) return steps?.[(k - positions) * dim + c] ?? 0
      const query = queries?.[(k % block) * dim + c] as number
      return k < block ? query + (blank?.[c] as number) : query
    })
  }

  /** Tokens' rows, [LDV][LD]. */
  table(label: string, at: Entry): GPUBuffer {
    const { dim, ld, ldVocab, vocab } = this.shape
    return this.matrix(label, vocab, dim, ldVocab, ld, at)
  }

  /** Tokens' columns, [LD][LDV]. */
  tableBack(label: string, at: Entry): GPUBuffer {
    const { dim, ld, ldVocab, vocab } = this.shape
    return this.matrix(label, dim, vocab, ld, ldVocab, (k, v) => at(v, k))
  }

  /** The head with all that stands before it, and its bias, by landscape: [T][LD + 4]. */
  head(norm: Float32Array, final: Float64Array[] | undefined): GPUBuffer {
    const { dim, ld } = this.shape
    const head = this.tensor(
      final ? 'transformer.final_layer.linear.weight' : 'transformer.final_layer.weight',
    )
    return this.byLandscape('head', ld + 4, ld + 4, (t, c) => {
      const [shift, scale] = [final?.[t]?.subarray(0, dim), final?.[t]?.subarray(dim)]
      if (c < dim) return (head[c] as number) * (norm[c] as number) * (1 + (scale?.[c] ?? 0))
      if (c !== ld || !shift) return 0
      return shift.reduce((sum, x, k) => sum + x * (head[k] as number), 0)
    })
  }

  /** A W_d, [D][D]: what an anchor makes of a draft. */
  anchored(): Float32Array {
    const { dim } = this.shape
    const [anchor, draft] = [
      this.tensor('answer.anchor.weight'),
      this.tensor('answer.draft.weight'),
    ]
    const sums = new Float64Array(dim)
    const both = new Float32Array(dim * dim)
    for (let o = 0; o < dim; o++) {
      sums.fill(0)
      for (let j = 0; j < dim; j++)
        for (let k = 0; k < dim; k++)
          sums[k] =
            (sums[k] as number) + (anchor[o * dim + j] as number) * (draft[j * dim + k] as number)
      both.set(sums, o * dim)
    }
    return both
  }
}

/** Throws `invalid_checkpoint` where a tensor is missing. */
export function packWeights(shape: Shape, checkpoint: Checkpoint, memory: Memory): ModelWeights {
  const packer = new Packer(shape, checkpoint, memory)
  const { config, dim, ld, vocab } = shape
  const norm = packer.tensor('transformer.norm.weight')
  const embeddings = packer.tensor('embeddings.weight')
  const weights: ModelWeights = {
    layers: Array.from({ length: shape.layers }, (_, i) => packer.layer(i)),
    table: packer.table('embeddings', (v, c) => embeddings[v * dim + c] as number),
    marks: packer.marks(),
    angles: packer.angles(),
    scale: checkpoint.tensors.get('answer.scale')?.data[0] ?? 0,
  }
  if (shape.latent) {
    const readout = packer.tensor('answer.readout.weight')
    weights.readout = packer.tableBack('readout', (v, c) => readout[v * dim + c] as number)
  } else if (config.answer.embed === 'vocab_to_embed') {
    const table = packer.tensor('vocab_to_embed.weight')
    const at: Entry = (v, c) => table[c * vocab + v] as number
    weights.vocabTable = packer.table('embeddings of answers', at)
    weights.vocabBack = packer.tableBack('embeddings of answers, back', at)
  } else {
    weights.vocabTable = weights.table
    weights.vocabBack = packer.tableBack(
      'embeddings, back',
      (v, c) => embeddings[v * dim + c] as number,
    )
  }
  const final = shape.adaptive ? packer.modulation('transformer.final_layer', 2) : undefined
  if (final)
    weights.adaptive = {
      scale: packer.byLandscape(
        'last scale',
        dim,
        ld,
        (t, c) => 1 + (final[t]?.[dim + c] as number),
      ),
    }
  if (shape.residual) {
    const opinion = packer.tensor('answer.opinion.weight')
    weights.opinion = packer.square('opinion', opinion, norm)
    if (shape.gradient) weights.opinionBack = packer.square('opinion, back', opinion, norm, true)
  } else {
    weights.head = packer.head(norm, final)
  }
  addDrafts(weights, packer, shape, { norm, final })
  return weights
}

/** What starts are read by, where they are drafts. */
function addDrafts(
  weights: ModelWeights,
  packer: Packer,
  shape: Shape,
  { final, norm }: { final: Float64Array[] | undefined; norm: Float32Array },
): void {
  const { dim, ld } = shape
  if (shape.config.answer.start !== 'draft') return
  if (shape.residual && !shape.anchored) {
    weights.draft = weights.opinion as GPUBuffer
    return
  }
  const draft = packer.tensor('answer.draft.weight')
  weights.draft = packer.square('draft', draft, norm)
  if (shape.anchored) weights.anchor = packer.square('anchor', packer.anchored(), norm)
  if (final && weights.adaptive)
    weights.adaptive.draftBias = packer.byLandscape('bias of the draft', dim, ld, (t, o) => {
      let sum = 0
      for (let k = 0; k < dim; k++)
        sum += (final[t]?.[k] as number) * (draft[o * dim + k] as number)
      return sum
    })
}

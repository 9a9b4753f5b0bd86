/**
 * The lists of dispatches that an engine submits, made once when a model opens: from rows to the
 * inputs of the network, forward, energies, back, and the step. docs/mathematics.md says what they
 * compute, in the same order.
 */
import type { Activations } from './activations.js'
import type { Device, Kernel } from './device.js'
import * as attention from './kernels/attention.js'
import * as energies from './kernels/energy-kernels.js'
import * as products from './kernels/product.js'
import * as readouts from './kernels/readouts.js'
import { type KernelSource, vocabChunk } from './kernels/source.js'
import * as states from './kernels/states.js'
import { answerGroup, positionsAcross, vectorGroup } from './kernels/threads.js'
import type { Shape } from './shape.js'
import type { ModelWeights } from './weights.js'

/** What one pass is: the uniforms of its kernels. */
export interface Round {
  positions: number
  answers: number
  /** Its first row. */
  first: number
  /** Positions of each row. */
  block: number
  /** Scores of a position's head. */
  stride: number
  /** The energy of a state after its step: without noise. */
  probe: boolean
  /** Tokens to be read of each position. */
  top: number
}

type Grid = (round: Round) => [number, number, number]

interface Bound {
  kernel: Kernel
  group: GPUBindGroup
  grid: Grid
}

/** One dispatch: the kernel for a pass of this size. All that it chooses among give the same bits. */
type Dispatch = (round: Round) => Bound

export type Program = readonly Dispatch[]

/** What lives as long as the engine and is not an activation. */
export interface State {
  /** Uniforms of passes, and rows of all passes of a submission. */
  rounds: GPUBuffer
  rows: GPUBuffer
  /** Eight numbers for each row. */
  results: GPUBuffer
  /** Clamped tokens [slots][K], then what a call uploads. */
  tokens: GPUBuffer
  /** [slots][K][LDS]. `last` is the state itself unless the energy is residual. */
  state: GPUBuffer
  best: GPUBuffer
  /** What rows of a step add to its direction. */
  pushes: GPUBuffer
  last: GPUBuffer
  bestEnergies: GPUBuffer
  /** Page table, [contexts][pages of one]. */
  pages: GPUBuffer
  /** Keys and values of each layer: [caches][pages + 1][16][2 LD]. */
  kv: GPUBuffer[]
  /** Where the context drafts: [contexts][LD]. */
  drafts?: GPUBuffer
  anchors?: GPUBuffer
  /** Likeliest tokens of positions, drawn tokens. */
  top: GPUBuffer
  drawn: GPUBuffer
}

export interface Programs {
  /** Observed tokens into the cache: keys and values only, or on to the last layer's output and what is read from it. */
  observe: Program
  observeWhole: Program
  /** A step, of which `probe` then tells whether it is kept. */
  step: Program
  probe: Program
  /** The energy of states or given tokens. */
  energy: Program
  /** Starts. */
  noise: Program
  /** Of no dispatch where starts are no drafts of the network. */
  draft: Program
  /** Answers, [position][LDS] in `base`, or their logits. */
  answers: Program
  logits: Program
  top: Program
  draw: Program
}

const ceil = (n: number, by: number): number => Math.ceil(n / by)

/** Collects the dispatches of a program; compiles each kernel once. */
class Assembly {
  constructor(
    private readonly device: Device,
    private readonly state: State,
  ) {}

  private async bound(
    source: KernelSource,
    buffers: readonly GPUBuffer[],
    grid: Grid,
  ): Promise<Bound> {
    const kernel = await this.device.compile(source)
    const { rounds, rows } = this.state
    return { kernel, group: this.device.bind(kernel, rounds, rows, buffers), grid }
  }

  private async single(
    source: KernelSource,
    buffers: readonly GPUBuffer[],
    grid: Grid,
  ): Promise<Dispatch> {
    const one = await this.bound(source, buffers, grid)
    return () => one
  }

  async product(
    make: (amount: products.Amount) => KernelSource,
    columns: number,
    buffers: readonly GPUBuffer[],
    parts = 1,
  ): Promise<Dispatch> {
    const { busyThreads } = this.device
    const size = ({ positions }: Round) => ({ columns, parts, positions })
    const made = await Promise.all(
      products.productAmounts(busyThreads).map(async (amount) => ({
        amount,
        bound: await this.bound(
          make(amount),
          buffers,
          (round) => products.productGrid(amount, size(round)).grid,
        ),
      })),
    )
    const smallest = made.at(-1) as (typeof made)[number]
    return (round) =>
      (made.find(({ amount }) => products.suits(amount, busyThreads, size(round))) ?? smallest)
        .bound
  }

  /** A thread for each vector of each position. */
  vectors(source: KernelSource, vectors: number, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
    const [wide, high] = vectorGroup
    return this.single(source, buffers, ({ positions }) => [
      ceil(vectors, wide),
      ceil(positions, high),
      1,
    ])
  }

  /** Sums over keys: where positions are few, a thread has a part of the keys. */
  async mix(shape: Shape, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
    const vectors = shape.dim / attention.headVector(shape)
    const whole = await this.vectors(attention.mix(shape, false), vectors, buffers)
    const { busyThreads } = this.device
    if (busyThreads === 0) return whole
    const split = await this.bound(attention.mix(shape, true), buffers, ({ positions }) =>
      attention.splitMixGrid(vectors, positions),
    )
    return (round) => (round.positions * vectors < busyThreads ? split : whole(round))
  }

  /** A workgroup for each position. */
  positions(source: KernelSource, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
    return this.single(source, buffers, ({ positions }) => [
      Math.min(positions, positionsAcross),
      ceil(positions, positionsAcross),
      1,
    ])
  }

  answers(source: KernelSource, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
    return this.single(source, buffers, ({ answers }) => [ceil(answers, answerGroup), 1, 1])
  }

  /** A thread for each score. */
  scores(source: KernelSource, heads: number, buffers: readonly GPUBuffer[]): Promise<Dispatch> {
    return this.single(source, buffers, ({ positions, stride }) => [
      ceil(stride, attention.scoreGroup[0]),
      positions,
      heads,
    ])
  }
}

/** The dispatches of one model. Each method is a part of a pass. */
class ModelDispatches {
  private readonly to: Assembly

  constructor(
    device: Device,
    private readonly shape: Shape,
    private readonly weights: ModelWeights,
    private readonly state: State,
    private readonly activations: Activations,
  ) {
    this.to = new Assembly(device, state)
  }

  /** From states to the inputs of the network; the energy is taken at `base`. */
  enter(base: GPUBuffer): Promise<Dispatch>[] {
    const { shape, state, to, weights } = this
    const { expected, positions } = this.activations
    if (shape.latent) return [this.inputs(base)]
    return [
      to.positions(states.soften(shape), [state.state, state.tokens, base]),
      to.product(
        (amount) => products.expectProduct(shape, amount, vocabChunk, positions),
        shape.ld,
        [base, weights.vocabTable as GPUBuffer, expected as GPUBuffer],
        ceil(shape.ldVocab, vocabChunk),
      ),
      this.inputs(base),
    ]
  }

  /** Inputs of the first layer. In latent space this writes `base`, in vocab space it reads what is expected there. */
  inputs(base: GPUBuffer): Promise<Dispatch> {
    const { shape, state, to, weights } = this
    const { expected, layers, positions } = this.activations
    const x = layers[0]?.x as GPUBuffer
    if (shape.latent)
      return to.vectors(states.enterLatent(shape), shape.ld / 4, [
        state.state,
        weights.table,
        weights.marks,
        state.tokens,
        ...(shape.gradient ? [] : [state.pushes]),
        base,
        x,
      ])
    return to.vectors(states.enterVocab(shape, positions), shape.ld / 4, [
      expected as GPUBuffer,
      weights.table,
      weights.vocabTable as GPUBuffer,
      weights.marks,
      state.tokens,
      x,
    ])
  }

  private qkv(index: number): Promise<Dispatch> {
    const { activations, shape, to, weights } = this
    const { qkv, x } = activations.layers[index] as Activations['layers'][number]
    const w = weights.layers[index] as ModelWeights['layers'][number]
    return to.product((amount) => products.qkvProduct(shape, amount), 3 * shape.ld, [
      x,
      w.qkv,
      ...(w.adaptive ? [w.adaptive.scale[0]] : []),
      weights.angles,
      ...(w.adaptive ? [w.adaptive.bias[0]] : []),
      qkv,
    ])
  }

  private remember(index: number): Promise<Dispatch> {
    const { activations, shape, state, to } = this
    const { qkv } = activations.layers[index] as Activations['layers'][number]
    return to.vectors(attention.remember(shape), shape.ld / 2, [
      qkv,
      state.pages,
      state.kv[index] as GPUBuffer,
    ])
  }

  /** A layer's attention and gates, after q, k and v. */
  private rest(index: number): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const { h, kept, logSums, mixed, qkv, x } = activations.layers[
      index
    ] as Activations['layers'][number]
    const w = weights.layers[index] as ModelWeights['layers'][number]
    const kv = state.kv[index] as GPUBuffer
    const { hidden, scores } = activations
    const next = activations.layers[index + 1]?.x ?? activations.last
    const gate = (i: 0 | 1): GPUBuffer[] => (w.adaptive ? [w.adaptive.gate[i]] : [])
    return [
      to.scores(attention.scores(shape), shape.heads, [qkv, kv, state.pages, scores]),
      to.mix(shape, [qkv, kv, state.pages, scores, mixed, ...(logSums ? [logSums] : [])]),
      to.product((amount) => products.residualProduct(shape, amount, shape.ld), shape.ld, [
        mixed,
        w.out,
        x,
        ...gate(0),
        h,
      ]),
      to.product((amount) => products.gatesProduct(shape, amount), 2 * shape.ldFfn, [
        h,
        w.gates,
        ...(w.adaptive ? [w.adaptive.scale[1], w.adaptive.bias[1]] : []),
        hidden,
        ...(kept ? [kept] : []),
      ]),
      to.product((amount) => products.residualProduct(shape, amount, shape.ldFfn), shape.ld, [
        hidden,
        w.down,
        h,
        ...gate(1),
        next,
      ]),
    ]
  }

  forward(): Promise<Dispatch>[] {
    return this.activations.layers.flatMap((_, i) => [this.qkv(i), ...this.rest(i)])
  }

  /** Observed tokens; without `whole`, the last layer is keys and values only. */
  observed(whole: boolean): Promise<Dispatch>[] {
    const end = this.activations.layers.length - 1
    return this.activations.layers.flatMap((_, i) => [
      this.qkv(i),
      this.remember(i),
      ...(whole || i < end ? this.rest(i) : []),
    ])
  }

  /** Drafts and anchors of the answer that follows, from the context. */
  drafts(): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const from = (w: GPUBuffer | undefined, into: GPUBuffer | undefined): Promise<Dispatch>[] =>
      w && into
        ? [
            to.product((amount) => products.contextProduct(shape, amount), shape.ld, [
              activations.last,
              w,
              into,
            ]),
          ]
        : []
    return [...from(weights.draft, state.drafts), ...from(weights.anchor, state.anchors)]
  }

  /** F, or another product of norm(h) with `w`. */
  opinion(w: GPUBuffer): Promise<Dispatch> {
    const { activations, shape, state, to, weights } = this
    const { adaptive } = weights
    return to.product((amount) => products.opinionProduct(shape, amount), shape.ld, [
      activations.last,
      w,
      ...(adaptive ? [adaptive.scale, adaptive.draftBias as GPUBuffer] : []),
      ...(state.anchors ? [state.anchors] : []),
      activations.opinions as GPUBuffer,
    ])
  }

  /** What each position adds to the energy at `base`. */
  energyParts(base: GPUBuffer): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const { last, logits, opinions, parts } = activations
    if (!shape.residual)
      return [
        to.positions(energies.energyParts(shape), [
          last,
          base,
          weights.head as GPUBuffer,
          state.tokens,
          parts,
        ]),
      ]
    const f = opinions as GPUBuffer
    return [
      this.opinion(weights.opinion as GPUBuffer),
      this.readout(f),
      to.positions(energies.energyParts(shape), [base, f, logits, state.tokens, parts]),
    ]
  }

  readout(answers: GPUBuffer): Promise<Dispatch> {
    const { activations, shape, to, weights } = this
    return to.product(
      (amount) => products.plainProduct(shape, amount, shape.ld, shape.ldVocab),
      shape.ldVocab,
      [answers, weights.readout as GPUBuffer, activations.logits],
    )
  }

  sumParts(): Promise<Dispatch> {
    const { activations, shape, state, to, weights } = this
    const { improved, parts, squares } = activations
    return to.answers(energies.sumParts(shape, weights.scale), [
      parts,
      ...(squares ? [squares] : []),
      state.bestEnergies,
      improved,
      state.results,
    ])
  }

  keep(): Promise<Dispatch> {
    const { activations, shape, state, to } = this
    const { improved, opinions } = activations
    const buffers = shape.residual
      ? [improved, opinions as GPUBuffer, state.best, state.last]
      : [improved, state.state, state.best]
    return to.vectors(states.keep(shape), shape.ldState / 4, buffers)
  }

  move(): Promise<Dispatch> {
    const { activations, shape, state, to } = this
    const direction = activations.direction ?? activations.opinions
    return to.vectors(states.move(shape), shape.ldState / 4, [
      activations.base,
      direction as GPUBuffer,
      state.tokens,
      state.state,
    ])
  }

  /** From the energy back to the inputs, and the direction of descent there. */
  backward(): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const { base, direction, last, opinions, slopes, squares } = activations
    if (!slopes || !direction || !squares) return []
    const kind = shape.config.energy.kind
    const ends = [slopes.x, state.tokens, state.pushes, direction, squares]
    const outset = shape.residual
      ? [
          to.vectors(energies.apart(shape), shape.ld / 4, [
            base,
            opinions as GPUBuffer,
            state.tokens,
            direction,
          ]),
          to.product(
            (amount) => products.plainProduct(shape, amount, shape.ld, shape.ld),
            shape.ld,
            [direction, weights.opinionBack as GPUBuffer, slopes.given],
          ),
        ]
      : [
          to.vectors(
            energies.headSlope(shape, kind === 'potential' ? weights.scale : 1),
            shape.ld,
            [weights.head as GPUBuffer, slopes.given],
          ),
        ]
    const end = shape.latent
      ? [to.positions(energies.direct(shape), kind === 'potential' ? [base, ...ends] : ends)]
      : [
          to.product(
            (amount) => products.plainProduct(shape, amount, shape.ld, shape.ldVocab),
            shape.ldVocab,
            [slopes.x, weights.vocabBack as GPUBuffer, direction],
          ),
          to.positions(energies.squares(shape), [state.tokens, state.pushes, direction, squares]),
        ]
    return [
      ...outset,
      to.positions(energies.normBack(shape, { first: true }), [last, slopes.given, slopes.x]),
      ...activations.layers.map((_, i) => this.layerBack(activations.layers.length - 1 - i)).flat(),
      ...end,
    ]
  }

  private layerBack(index: number): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const layer = activations.layers[index] as Activations['layers'][number]
    const w = weights.layers[index] as ModelWeights['layers'][number]
    const slopes = activations.slopes as NonNullable<Activations['slopes']>
    const back = w.back as NonNullable<typeof w.back>
    const kv = state.kv[index] as GPUBuffer
    const { scores } = activations
    const [kept, logSums] = [layer.kept as GPUBuffer, layer.logSums as GPUBuffer]
    const { h, mixed, qkv, x } = layer
    const gate = (i: 0 | 1): GPUBuffer[] => (w.adaptive ? [w.adaptive.gate[i]] : [])
    const scale = (i: 0 | 1): GPUBuffer[] => (w.adaptive ? [w.adaptive.scale[i]] : [])
    const { adaptive: scaled } = shape
    const vectors = shape.dim / attention.headVector(shape)
    const { angles } = weights
    return [
      to.product((amount) => products.gatesBackProduct(shape, amount), shape.ldFfn, [
        slopes.x,
        back.down,
        ...gate(1),
        kept,
        slopes.gates,
      ]),
      to.product(
        (amount) => products.plainProduct(shape, amount, 2 * shape.ldFfn, shape.ld),
        shape.ld,
        [slopes.gates, back.gates, slopes.given],
      ),
      to.positions(energies.normBack(shape, { scaled }), [h, slopes.given, ...scale(1), slopes.x]),
      to.product(
        (amount) => products.plainProduct(shape, amount, shape.ld, shape.ld, scaled),
        shape.ld,
        [slopes.x, back.out, ...gate(0), slopes.given],
      ),
      to.scores(attention.scores(shape, true), shape.heads, [
        qkv,
        kv,
        state.pages,
        logSums,
        scores,
      ]),
      to.scores(attention.scoresBack(shape), shape.heads, [
        qkv,
        kv,
        state.pages,
        mixed,
        slopes.given,
        scores,
        slopes.scores,
      ]),
      to.vectors(attention.queriesBack(shape), vectors, [
        qkv,
        kv,
        state.pages,
        slopes.scores,
        angles,
        slopes.qkv,
      ]),
      to.vectors(attention.keysBack(shape), vectors, [
        qkv,
        slopes.given,
        scores,
        slopes.scores,
        angles,
        slopes.qkv,
      ]),
      to.product(
        (amount) => products.plainProduct(shape, amount, 3 * shape.ld, shape.ld),
        shape.ld,
        [slopes.qkv, back.qkv, slopes.given],
      ),
      to.positions(energies.normBack(shape, { scaled }), [x, slopes.given, ...scale(0), slopes.x]),
    ]
  }

  compare(): Promise<Dispatch>[] {
    const { activations, shape, state, to, weights } = this
    const { base, parts, rejected } = activations
    return [
      to.answers(energies.compare(shape, weights.scale), [parts, state.results, rejected]),
      to.vectors(states.reject(shape), shape.ldState / 4, [base, rejected, state.state]),
    ]
  }

  scatter(): Promise<Dispatch> {
    const { shape, state, to } = this
    return to.vectors(states.scatter(shape), shape.ldState / 4, [state.state])
  }

  place(): Promise<Dispatch> {
    const { activations, shape, state, to } = this
    return to.vectors(states.place(shape), shape.ld / 4, [
      activations.opinions as GPUBuffer,
      state.state,
    ])
  }

  gather(into: GPUBuffer): Promise<Dispatch> {
    const { shape, state, to } = this
    return to.vectors(readouts.gather(shape), shape.ldState / 4, [
      ...(shape.residual ? [state.state] : []),
      state.last,
      state.best,
      state.bestEnergies,
      into,
    ])
  }

  top(): Promise<Dispatch> {
    return this.to.positions(readouts.top(this.shape), [
      this.activations.logits,
      this.state.tokens,
      this.state.top,
    ])
  }

  draw(): Promise<Dispatch> {
    return this.to.positions(readouts.draw(this.shape), [
      this.activations.logits,
      this.state.tokens,
      this.state.drawn,
    ])
  }
}

/** Compiles all that a model needs. */
export async function makePrograms(
  device: Device,
  shape: Shape,
  weights: ModelWeights,
  state: State,
  activations: Activations,
): Promise<Programs> {
  const parts = new ModelDispatches(device, shape, weights, state, activations)
  const { base, logits, probe } = activations
  const answer = shape.latent ? [parts.gather(base), parts.readout(base)] : [parts.gather(logits)]
  const energy = [...parts.enter(base), ...parts.forward(), ...parts.energyParts(base)]
  const drafted =
    weights.draft && !shape.contextDrafts
      ? [...parts.enter(base), ...parts.forward(), parts.opinion(weights.draft), parts.place()]
      : []
  const keepBest = shape.residual ? [] : [parts.keep()]
  // All at once: where one kernel fails, the others are not left alone.
  const programs = {
    observe: [parts.inputs(base), ...parts.observed(false)],
    observeWhole: [parts.inputs(base), ...parts.observed(true), ...parts.drafts()],
    step: [...energy, ...parts.backward(), parts.sumParts(), parts.keep(), parts.move()],
    probe: [
      ...parts.enter(probe),
      ...parts.forward(),
      ...parts.energyParts(probe),
      ...parts.compare(),
    ],
    energy: [...energy, parts.sumParts(), ...keepBest],
    noise: [parts.scatter()],
    draft: drafted,
    answers: [parts.gather(base)],
    logits: answer,
    top: [...answer, parts.top()],
    draw: [...answer, parts.draw()],
  }
  const made = await Promise.all(
    Object.entries(programs).map(async ([name, dispatches]) => [
      name,
      await Promise.all(dispatches),
    ]),
  )
  return Object.fromEntries(made) as Programs
}

/** `offset`: of the pass's uniforms. */
export function record(
  pass: GPUComputePassEncoder,
  program: Program,
  round: Round,
  offset: number,
): void {
  for (const dispatch of program) {
    const { grid, group, kernel } = dispatch(round)
    pass.setPipeline(kernel.pipeline)
    pass.setBindGroup(0, group, [offset])
    pass.dispatchWorkgroups(...grid(round))
  }
}

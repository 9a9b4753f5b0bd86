/**
 * Gradients by one reverse pass over the network, or by several that add up. With several, the contexts
 * are leaves of each pass; the gradients that reach them are summed and go back through the observed
 * stream once, at the end. So the stream is computed once for all steps, and only the tape of one step is
 * held at a time.
 */
import type { Scalar } from '@tensorflow/tfjs-core'
import type { Tensor } from '../../energy/tfjs/backend.js'
import { Landscape } from '../../energy/tfjs/landscape.js'
import type { Context, Network } from '../../energy/tfjs/network.js'
import { contextCaches, landscapeOf } from '../../model/config.js'
import { contextOf, observeBatch, settingOf, type Inputs } from './objective.js'

/**
 * One reverse pass: the value of a scalar, and its gradient for every weight that it depends on. What `compute`
 * returns besides the scalar outlives the tape too: it belongs to the scope of the caller.
 */
export function gradientsOf<Besides extends readonly Tensor[]>(
  network: Network,
  compute: () => readonly [scalar: Tensor, ...besides: Besides],
): { value: Tensor; gradients: Map<string, Tensor>; besides: Besides } {
  const { tf, weights } = network
  let kept: Tensor[] = []
  const { value, grads } = tf.variableGrads(() => {
    const [scalar, ...besides] = compute()
    kept = besides.map((t) => tf.keep(tf.clone(t)))
    return scalar as Scalar
  })
  const besides = kept.map((t) => tf.clone(t))
  tf.dispose(kept)
  const named = new Map<string, Tensor>()
  for (const [name, weight] of weights) {
    const gradient = grads[(weight as Tensor & { name: string }).name]
    if (gradient) named.set(name, gradient)
  }
  return { value, gradients: named, besides: besides as readonly Tensor[] as Besides }
}

/** Keys and values of every layer, in one list. */
const tensorsOf = ({ layers }: Context): Tensor[] => layers.flatMap(({ k, v }) => [k, v])

export class GatheredGradients {
  readonly #weights = new Map<string, Tensor>()
  readonly #contexts = new Map<number, { context: Context; reached: (Tensor | undefined)[] }>()

  constructor(
    private readonly network: Network,
    private readonly inputs: Inputs,
  ) {}

  /**
   * The landscape of a step. Its context is computed at the first call that needs it, which must be
   * outside of `add`: a context that is computed within would not be a leaf.
   */
  landscape(step: number): Landscape {
    const { network, inputs } = this
    const t = landscapeOf(network.config, step)
    const cache = Math.min(t, contextCaches(network.config) - 1)
    let known = this.#contexts.get(cache)
    if (!known) {
      known = { context: contextOf(network, inputs, cache), reached: [] }
      this.#contexts.set(cache, known)
    }
    return new Landscape(network, settingOf(network, inputs, known.context, t))
  }

  /** Adds the gradient of a scalar; returns its value, and its gradients with respect to `leaves`. */
  add(scalar: () => Tensor, leaves: readonly Tensor[] = []): { value: Tensor; slopes: Tensor[] } {
    const { tf, weights } = this.network
    const contexts = [...this.#contexts.values()]
    const seen = contexts.flatMap(({ context }) => tensorsOf(context))
    const xs = [...leaves, ...seen, ...weights.values()]
    const { value, grads } = tf.engine().gradients(scalar, xs, undefined, true) as {
      value: Tensor
      grads: (Tensor | undefined)[]
    }
    let at = leaves.length
    for (const { context, reached } of contexts) {
      tensorsOf(context).forEach((_, i) => (reached[i] = this.#sum(reached[i], grads[at++])))
    }
    for (const name of weights.keys()) this.#addTo(name, grads[at++])
    const slopes = leaves.map((leaf, i) => grads[i] ?? tf.zerosLike(leaf))
    return { value, slopes }
  }

  set(name: string, gradient: Tensor): void {
    this.#weights.set(name, gradient)
  }

  /** Passes the contexts' gradients back through the observed stream; returns all gradients by name. */
  finish(): Map<string, Tensor> {
    const { tf } = this.network
    const contexts = [...this.#contexts]
    this.#contexts.clear()
    for (const [cache, { reached }] of contexts) {
      if (reached.every((t) => t === undefined)) continue
      this.add(() => {
        const layers = observeBatch(this.network, this.inputs, cache).layers
        const outputs = layers.flatMap(({ k, v }) => [k, v])
        return tf.addN(
          outputs.flatMap((output, i) => {
            const slope = reached[i]
            return slope ? [tf.sum(tf.mul(output, slope))] : []
          }),
        )
      })
    }
    return this.#weights
  }

  #addTo(name: string, gradient: Tensor | undefined): void {
    const sum = this.#sum(this.#weights.get(name), gradient)
    if (sum) this.#weights.set(name, sum)
  }

  #sum(a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined {
    return a && b ? this.network.tf.add(a, b) : (a ?? b)
  }
}

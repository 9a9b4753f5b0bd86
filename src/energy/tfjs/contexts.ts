/**
 * The context caches of the tfjs engine: keys and values of every layer, by context and landscape.
 * Each context is stored in one piece, so pages are only the scheduler's unit of account here.
 */
import {
  contextCaches,
  contextOffset,
  draftsFromContext,
  type ModelConfig,
} from '../../model/config.js'
import type { Tensor } from './backend.js'
import { prefixMask, type Context, type LayerContext, type Network } from './network.js'

interface Cache {
  /** Observed positions, the step token of `time_embed` included. */
  length: number
  /** [1, H, T, d] */
  layers: LayerContext[]
  /** The last layer's output at the last position, [1, 1, D], where drafts come from it. */
  hidden: Tensor | null
}

export class Contexts {
  /** By context, then by landscape (one entry where all landscapes share it). */
  private readonly byContext = new Map<number, Cache[]>()
  /** The latest batch that was assembled, because the steps of an unchanged batch need no new padding. */
  private memo: { key: string; context: Context | null } = { key: '', context: null }

  constructor(private readonly network: Network) {}

  private get config(): ModelConfig {
    return this.network.config
  }

  /** The number of observed tokens of a context. */
  length(contextId: number): number {
    const first = this.byContext.get(contextId)?.[0]
    return first ? first.length - contextOffset(this.config) : 0
  }

  has(contextId: number): boolean {
    return this.byContext.has(contextId)
  }

  observe(contextId: number, tokens: readonly number[]): void {
    const caches = this.byContext.get(contextId) ?? this.openContext()
    this.byContext.set(contextId, caches)
    if (tokens.length > 0)
      caches.forEach((cache, landscape) => this.append(cache, tokens, landscape, false))
  }

  /** Observes, and returns the sum of norm(h) over the tokens on the last landscape, [D]. */
  encode(contextId: number, tokens: readonly number[]): Tensor {
    this.observe(contextId, [])
    if (tokens.length === 0) return this.network.tf.zeros([this.config.dim])
    const caches = this.byContext.get(contextId) ?? []
    const sums = caches.flatMap((cache, landscape) =>
      this.append(cache, tokens, landscape, landscape === caches.length - 1),
    )
    return sums[0] as Tensor
  }

  /** Forgets all tokens from the first `length` on. */
  truncate(contextId: number, length: number): void {
    if (length >= this.length(contextId)) return
    this.forget()
    const { tf } = this.network
    const kept = length + contextOffset(this.config)
    for (const cache of this.byContext.get(contextId) ?? []) {
      const layers = cache.layers.map(({ k, v }) => ({ k: head(k), v: head(v) }))
      disposeLayers(cache.layers)
      cache.layers = layers
      cache.length = kept
    }
    function head(keys: Tensor): Tensor {
      return tf.slice(keys, [0, 0, 0, 0], [-1, -1, kept, -1])
    }
  }

  release(contextId: number): void {
    this.forget()
    for (const cache of this.byContext.get(contextId) ?? []) {
      disposeLayers(cache.layers)
      cache.hidden?.dispose()
    }
    this.byContext.delete(contextId)
  }

  /** The contexts of rows, padded to one length; null if none has observed anything. */
  assemble(
    rows: readonly { contextId: number; landscape: number }[],
    positions: number,
  ): Context | null {
    const caches = rows.map(({ contextId, landscape }) => this.cacheOf(contextId, landscape))
    const key = rows
      .map((row, i) => `${row.contextId}.${row.landscape}.${caches[i]?.length ?? 0}`)
      .join()
      .concat(`:${positions}`)
    if (key !== this.memo.key) {
      this.forget()
      this.memo = { key, context: this.pad(caches, positions) }
    }
    return this.memo.context
  }

  bytes(): number {
    const { layers, dim } = this.config
    let positions = 0
    for (const caches of this.byContext.values())
      for (const cache of caches) positions += cache.length
    return positions * layers * 2 * dim * 4
  }

  dispose(): void {
    for (const contextId of [...this.byContext.keys()]) this.release(contextId)
    this.forget()
  }

  private cacheOf(contextId: number, landscape: number): Cache | undefined {
    const caches = this.byContext.get(contextId)
    return caches?.[Math.min(landscape, caches.length - 1)]
  }

  private openContext(): Cache[] {
    const caches = Array.from({ length: contextCaches(this.config) }, () => ({
      length: 0,
      layers: [],
      hidden: null,
    }))
    if (this.config.conditioning === 'time_embed')
      caches.forEach((cache, t) => this.append(cache, null, t, false))
    return caches
  }

  /** `null` appends the step token of `time_embed`. Returns the sum of the tokens' states, [D], if asked for. */
  private append(
    cache: Cache,
    tokens: readonly number[] | null,
    landscape: number,
    summed: boolean,
  ): Tensor[] {
    const { tf } = this.network
    const [hidden, ...others] = tf.tidy<Tensor[]>(() => {
      const conditioned = this.config.conditioning === 'adaln' || tokens === null
      const step = conditioned ? this.network.stepEmbedding([landscape]) : null
      const x = tokens
        ? this.network.embed(tf.tensor2d([...tokens], [1, tokens.length], 'int32'))
        : (step as Tensor)
      const count = x.shape[1] as number
      const rotary = this.network.rotary([
        Array.from({ length: count }, (_, i) => cache.length + i),
      ])
      const past = cache.length > 0 ? cache.layers : null
      const seen = this.network.observe(
        x,
        past,
        rotary,
        this.config.conditioning === 'adaln' ? step : null,
      )
      const last = tf.slice(seen.hidden, [0, count - 1, 0], [-1, 1, -1])
      const grown = seen.layers.flatMap((fresh, i) => {
        const old = past?.[i]
        return old
          ? [tf.concat([old.k, fresh.k], 2), tf.concat([old.v, fresh.v], 2)]
          : [fresh.k, fresh.v]
      })
      return [last, ...grown, ...(summed ? [this.network.sumOfStates(seen.hidden)] : [])]
    })
    const flat = others.slice(0, 2 * this.config.layers)
    disposeLayers(cache.layers)
    cache.hidden?.dispose()
    cache.layers = Array.from({ length: flat.length / 2 }, (_, i) => ({
      k: flat[2 * i] as Tensor,
      v: flat[2 * i + 1] as Tensor,
    }))
    cache.hidden = hidden ?? null
    cache.length += tokens?.length ?? 1
    return others.slice(flat.length)
  }

  private pad(caches: readonly (Cache | undefined)[], positions: number): Context | null {
    const { tf } = this.network
    const longest = Math.max(...caches.map((cache) => cache?.length ?? 0))
    if (longest === 0) return null
    const { heads, dim } = this.config
    const padded = (tensor: Tensor | undefined): Tensor => {
      if (!tensor) return tf.zeros([1, heads, longest, dim / heads])
      return tf.pad(tensor, [
        [0, 0],
        [0, 0],
        [0, longest - (tensor.shape[2] as number)],
        [0, 0],
      ])
    }
    return tf.tidy(() => {
      const layers = Array.from({ length: this.config.layers }, (_, i) => ({
        k: tf.keep(tf.concat(caches.map((cache) => padded(cache?.layers[i]?.k)))),
        v: tf.keep(tf.concat(caches.map((cache) => padded(cache?.layers[i]?.v)))),
      }))
      const visible = caches.map((cache) => new Array<number>(positions).fill(cache?.length ?? 0))
      const even = caches.every((cache) => cache?.length === longest)
      const mask = even ? null : tf.keep(prefixMask(tf, visible, longest))
      return { layers, mask, hidden: this.hiddenOf(caches) } as never
    })
  }

  /** [B, 1, D], where drafts come from it; zeros where nothing was observed. */
  private hiddenOf(caches: readonly (Cache | undefined)[]): Tensor | null {
    if (!draftsFromContext(this.config)) return null
    const { tf } = this.network
    const nothing = tf.zeros([1, 1, this.config.dim])
    return tf.keep(tf.concat(caches.map((cache) => cache?.hidden ?? nothing)))
  }

  private forget(): void {
    if (this.memo.context) {
      disposeLayers(this.memo.context.layers)
      this.memo.context.hidden?.dispose()
      this.memo.context.mask?.dispose()
    }
    this.memo = { key: '', context: null }
  }
}

function disposeLayers(layers: readonly LayerContext[]): void {
  for (const { k, v } of layers) {
    k.dispose()
    v.dispose()
  }
}

/**
 * Long random series of calls of the WebGPU engine and the native one: contexts that grow, go back,
 * move to other pages, share beginnings and go; answers that begin, descend in rounds, and are judged
 * and read at any time. Both must give the same results.
 */
import { expect, it } from 'vitest'
import type { DescendRow, EnergyEngine, EnergyRow } from '../../src/energy/engine.js'
import { landscapeOf } from '../../src/model/config.js'
import { uniform } from '../../src/refine/random.js'
import { modelOf } from '../support/models.js'
import { openNative } from '../native/support.js'
import { describeWebgpu, everything, openWebgpu } from './support.js'

const capacity = { slots: 6, contexts: 4, pages: 16 }
/** Of every context: pages are drawn anew when it begins. */
const pagesOfOne = 3

class RandomCalls {
  private drawn = 0
  private readonly texts = new Map<number, number[]>()
  private readonly pages = new Map<number, number[]>()
  private readonly steps = new Map<number, { contextId: number; taken: number }>()

  constructor(
    private readonly engines: readonly [EnergyEngine, EnergyEngine],
    private readonly seed: number,
  ) {}

  async turn(): Promise<void> {
    const acts = [
      () => this.grow(),
      () => this.grow(),
      () => this.begin(),
      () => this.descend(),
      () => this.descend(),
      () => this.judge(),
      () => this.read(),
    ]
    const act = acts[this.below(acts.length)]
    await (this.below(20) === 0 ? this.release() : act?.())
  }

  private below(limit: number): number {
    return Math.floor(uniform(this.seed, 0, this.drawn++) * limit)
  }

  private token(): number {
    return this.below(this.engines[0].model.vocab_size)
  }

  private async both<T>(act: (engine: EnergyEngine) => T | Promise<T>): Promise<[T, T]> {
    return [await act(this.engines[0]), await act(this.engines[1])]
  }

  /** Appends, goes back, moves to other pages, or begins on another context's first page. */
  private async grow(): Promise<void> {
    const contextId = this.below(capacity.contexts)
    const text = this.texts.get(contextId) ?? []
    const moves = this.below(6) === 0
    const free = this.freePages(contextId)
    let pages = this.pages.get(contextId) ?? []
    let from = this.below(3) === 0 ? this.below(text.length + 1) : text.length
    if (pages.length === 0 || moves) {
      if (free.length < pagesOfOne) return
      pages = free.slice(0, pagesOfOne)
      from = 0
      const elder = [...this.texts].find(
        ([other, said]) => other !== contextId && said.length >= 16,
      )
      if (elder && text.length === 0 && this.below(2) === 0) {
        pages = [this.pages.get(elder[0])?.[0] as number, ...pages.slice(1)]
        text.push(...elder[1].slice(0, 16))
        from = 16
      }
    }
    const kept = text.slice(0, from)
    const repeated = moves ? text.slice(from) : []
    const room = 16 * pagesOfOne - kept.length - repeated.length
    const fresh = Array.from({ length: Math.min(room, 1 + this.below(9)) }, () => this.token())
    const tokens = [...repeated, ...fresh]
    if (tokens.length === 0) return
    // Others may stand on the first page: what is written there must be theirs too.
    if (from < 16 && this.shared(pages[0] as number, contextId)) return
    await this.both((engine) => engine.observe([{ contextId, from, tokens, pages }]))
    this.texts.set(contextId, [...kept, ...tokens])
    this.pages.set(contextId, pages)
  }

  private shared(page: number, contextId: number): boolean {
    return [...this.pages].some(([other, pages]) => other !== contextId && pages.includes(page))
  }

  private freePages(contextId: number): number[] {
    return Array.from({ length: capacity.pages }, (_, page) => page).filter(
      (page) => !this.shared(page, contextId) && !this.pages.get(contextId)?.includes(page),
    )
  }

  private async release(): Promise<void> {
    const contextId = this.below(capacity.contexts)
    await this.both((engine) => engine.release(contextId))
    this.texts.delete(contextId)
    this.pages.delete(contextId)
    for (const [slot, held] of this.steps) if (held.contextId === contextId) this.steps.delete(slot)
  }

  private async begin(): Promise<void> {
    const { block } = this.engines[0].model.answer
    const [slot, contextId] = [this.below(capacity.slots), this.below(capacity.contexts)]
    const some = block > 1 && this.below(2) === 0
    const clamped = Array.from({ length: block }, (_, i) =>
      i > 0 && this.below(3) === 0 ? this.token() : -1,
    )
    const row = { slot, contextId, seed: this.below(2 ** 50), candidate: this.below(8) }
    await this.both((engine) => engine.begin([some ? { ...row, clamped } : row]))
    this.steps.set(slot, { contextId, taken: 0 })
  }

  private async descend(): Promise<void> {
    const { model } = this.engines[0]
    const rows: DescendRow[] = []
    for (let round = 0; round < 1 + this.below(3); round++)
      for (const [slot, held] of this.steps) {
        // Later steps of random networks may go far apart from nothing.
        if (held.taken >= 5 || this.below(4) === 0) continue
        const step = held.taken++
        const noise = this.below(4) === 0 ? 0.1 : 0
        rows.push({ slot, step, noise, landscape: landscapeOf(model, step), stepSize: 0.5 })
      }
    if (rows.length === 0) return
    const [found, wanted] = await this.both((engine) => engine.descend(rows))
    expect(found).toHaveLength(wanted.length)
    found.forEach((result, i) => {
      this.alike(result.energy, wanted[i]?.energy)
      this.alike(result.gradientNorm, wanted[i]?.gradientNorm)
      this.alike(result.best, wanted[i]?.best)
    })
  }

  private async judge(): Promise<void> {
    const { block } = this.engines[0].model.answer
    const rows: EnergyRow[] = [...this.steps.keys()].map((slot) => ({ slot, landscape: 0 }))
    const answer = Array.from({ length: 1 + this.below(block) }, () => this.token())
    rows.push({ contextId: this.below(capacity.contexts), answer, landscape: 0 })
    const [found, wanted] = await this.both((engine) => engine.energy(rows))
    found.forEach((result, i) => this.alike(result.energy, wanted[i]?.energy))
  }

  private async read(): Promise<void> {
    const rows = [...this.steps.keys()].map((slot) => {
      const which = this.below(2) === 0 ? ('best' as const) : ('last' as const)
      return { slot, which, top: 'all' as const }
    })
    const [found, wanted] = await this.both((engine) => engine.read(rows))
    found.forEach(({ logits }, i) =>
      logits.forEach((z, at) => this.alike(z, wanted[i]?.logits[at])),
    )
  }

  private alike(found: number, wanted: number | undefined): void {
    if (wanted === undefined || !Number.isFinite(wanted)) expect(found).toBe(wanted)
    else expect(Math.abs(found - wanted)).toBeLessThan(1e-4 * Math.max(1, Math.abs(wanted)))
  }
}

describeWebgpu('random calls', () => {
  const labels = [
    'latent residual amortized, K 4, candidate',
    'latent residual, K 1, anchored by its draft',
    'vocab head, K 4, adaln',
  ]
  it.each(everything ? labels : labels.slice(0, 1))(
    '%s: give the results of the native engine',
    async (label) => {
      const checkpoint = modelOf(label)
      const engines: [EnergyEngine, EnergyEngine] = [
        await openWebgpu(checkpoint, { capacity }),
        openNative(checkpoint, { capacity }),
      ]
      const calls = new RandomCalls(engines, 11)
      for (let turn = 0; turn < (everything ? 2_000 : 300); turn++) await calls.turn()
      for (const engine of engines) await engine.close()
    },
    600_000,
  )
})

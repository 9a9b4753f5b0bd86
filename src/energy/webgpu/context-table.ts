/**
 * What contexts have observed, as integers: their lengths, and how many positions each page holds. The keys and
 * values themselves are the device's.
 */
import type { ObserveRow } from '../engine.js'
import { checkRange, outOfRange } from '../range.js'
import { webgpuPageSize, type Shape } from './shape.js'

export class ContextTable {
  /** Observed tokens of each context. */
  private lengths = new Map<number, number>()
  /** Positions that each page holds. */
  private filled: Uint8Array

  constructor(private readonly shape: Shape) {
    this.filled = new Uint8Array(shape.pages)
  }

  /** Observed tokens. */
  length(contextId: number): number {
    return this.lengths.get(contextId) ?? 0
  }

  /**
   * Enters rows, all or none, and returns the position of each row's first token. Throws `out_of_range`
   * for what cannot be observed.
   */
  enter(rows: readonly ObserveRow[]): number[] {
    const before = { lengths: new Map(this.lengths), filled: this.filled.slice() }
    try {
      return rows.map((row) => this.enterRow(row))
    } catch (error) {
      Object.assign(this, before)
      throw error
    }
  }

  release(contextId: number): void {
    this.lengths.delete(contextId)
  }

  private enterRow({ from, pages, contextId, tokens }: ObserveRow): number {
    const { config, pages: most, pagesPerContext, contexts } = this.shape
    checkRange('contextId', contextId, contexts)
    tokens.forEach((token) => checkRange('token', token, config.vocab_size))
    const start = from ?? this.length(contextId)
    if (from !== undefined) {
      checkRange('from', from, config.context_length)
      checkRange('from', from, from + tokens.length)
    }
    const end = start + tokens.length
    const room = Math.min(config.context_length, pagesPerContext * webgpuPageSize) - start
    if (tokens.length > room) throw outOfRange('tokens', `at most ${room}`, tokens.length)
    if (pages.length * webgpuPageSize < end)
      throw outOfRange('pages', `enough for ${end} positions`, pages.length)
    pages.forEach((page) => checkRange('pages', page, most))
    this.fill(pages.slice(0, pagesPerContext), start, end)
    this.lengths.set(contextId, end)
    return start
  }

  /** Throws where a page does not hold what comes before `start`. */
  private fill(pages: readonly number[], start: number, end: number): void {
    const covers = (index: number, until: number): number =>
      Math.min(webgpuPageSize, until - index * webgpuPageSize)
    pages.forEach((page, index) => {
      if (covers(index, start) > (this.filled[page] as number))
        throw outOfRange('pages', 'pages that hold the positions before the first token', page)
      if (covers(index, end) > Math.max(0, covers(index, start)))
        this.filled[page] = covers(index, end)
    })
  }
}

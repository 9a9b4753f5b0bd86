/**
 * What contexts have observed, as integers: lengths, page tables, and how many positions each page
 * holds. The keys and values themselves are the device's.
 */
import { BasinError } from '../../errors.js'
import type { ObserveRow } from '../engine.js'
import { checkRange } from '../range.js'
import { webgpuPageSize, type Shape } from './shape.js'

interface Context {
  length: number
  pages: readonly number[]
}

const empty: Context = { length: 0, pages: [] }

const outOfRange = (param: string, bound: string, value: number): BasinError =>
  new BasinError('out_of_range', { param, bound, value })

export class ContextTable {
  private byContext = new Map<number, Context>()
  /** Positions that each page holds. */
  private filled: Uint8Array

  constructor(private readonly shape: Shape) {
    this.filled = new Uint8Array(shape.pages)
  }

  /** Observed tokens. */
  length(contextId: number): number {
    return (this.byContext.get(contextId) ?? empty).length
  }

  /**
   * Enters rows, all or none, and returns the position of each row's first token. Throws `out_of_range`
   * for what cannot be observed.
   */
  enter(rows: readonly ObserveRow[]): number[] {
    const before = { byContext: new Map(this.byContext), filled: this.filled.slice() }
    try {
      return rows.map((row) => this.enterRow(row))
    } catch (error) {
      Object.assign(this, before)
      throw error
    }
  }

  /** The page table of a context, as it was entered last. */
  pagesOf(contextId: number): readonly number[] {
    return (this.byContext.get(contextId) ?? empty).pages
  }

  release(contextId: number): void {
    this.byContext.delete(contextId)
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
    const used = pages.slice(0, pagesPerContext)
    this.fill(used, start, end)
    this.byContext.set(contextId, { length: end, pages: used })
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

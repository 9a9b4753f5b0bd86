/**
 * The page table of each context, and the sharing of pages between contexts. A full page is named by a
 * digest of its tokens and of all tokens before them; the chain of digests begins with a salt, so only
 * contexts with the same salt find each other's pages. Integers only.
 */
import { createHash } from 'node:crypto'
import type { PagePool } from './page-pool.js'

/** Names of the full pages of one context. Each is computed at its first use. */
export class PageNames {
  private readonly names: string[] = []

  constructor(
    private readonly salt: string,
    /** All tokens of the context. The caller may append to it. */
    private readonly tokens: readonly number[],
    private readonly pageSize: number,
  ) {}

  /** The name of page number `index`, which must be full. */
  of(index: number): string {
    for (let i = this.names.length; i <= index; i++) {
      const tokens = this.tokens.slice(i * this.pageSize, (i + 1) * this.pageSize)
      const hash = createHash('sha256').update(this.names[i - 1] ?? this.root())
      this.names.push(hash.update(Int32Array.from(tokens)).digest('base64'))
    }
    return this.names[index] as string
  }

  private root(): string {
    return createHash('sha256').update(this.salt).digest('base64')
  }
}

export interface PagedContext {
  readonly pages: number[]
  readonly names: PageNames
  /** It shares no page in either direction, because its request needs a result from every token. */
  readonly whole: boolean
  /** Tokens that `pages` hold now. */
  observed: number
  /** Tokens that they must hold before the next answer begins. */
  target: number
}

export class PageTables {
  constructor(
    readonly pool: PagePool,
    private readonly pageSize: number,
    /** Whether the engine allows contexts to share pages. */
    readonly sharing: boolean,
  ) {}

  pagesFor(positions: number): number {
    return Math.ceil(positions / this.pageSize)
  }

  /** How many more pages `context` needs to hold `to` tokens. */
  lacking({ pages }: PagedContext, to: number): number {
    return Math.max(0, this.pagesFor(to) - pages.length)
  }

  /** How many full pages at the beginning of a context are held by other contexts now. */
  heldByOthers(names: PageNames, target: number): number {
    for (let count = 0; ; count++) {
      const page = this.next(names, count * this.pageSize, target)
      if (page === undefined || this.pool.isIdle(page)) return count
    }
  }

  /**
   * Adds to `context` the shared pages that hold the tokens it would observe next, except its last
   * token: the network's output there may be needed. Returns the number of tokens gained.
   */
  adopt(context: PagedContext): number {
    const from = context.observed
    if (context.whole) return 0
    for (;;) {
      const page = this.next(context.names, context.observed, context.target)
      if (page === undefined) return context.observed - from
      this.pool.share(page)
      context.pages.push(page)
      context.observed += this.pageSize
    }
  }

  /**
   * For each context: whether an earlier one in the list is about to fill the page that it needs next.
   * It then waits, and shares that page instead of computing it twice.
   */
  awaitOthersPage(contexts: readonly PagedContext[]): boolean[] {
    const filling = new Set<string>()
    return contexts.map(({ names, observed, target, whole }) => {
      const index = Math.floor(observed / this.pageSize)
      if (!this.sharing || whole || (index + 1) * this.pageSize >= target) return false
      const name = names.of(index)
      const waits = filling.has(name)
      filling.add(name)
      return waits
    })
  }

  /** Records that `context` observes its tokens up to `to`, and names its pages that are full now. */
  advance(context: PagedContext, to: number): void {
    const full = Math.floor(context.observed / this.pageSize)
    context.observed = to
    if (!this.sharing || context.whole) return
    for (let i = full; (i + 1) * this.pageSize <= to; i++)
      this.pool.name(context.pages[i] as number, context.names.of(i))
  }

  /** `to` rounded down to a page border where the context goes on after it, so that others can share the page. */
  roundToPage({ observed, target }: PagedContext, to: number): number {
    const border = to - (to % this.pageSize)
    return this.sharing && to < target && border > observed ? border : to
  }

  /** Gives all pages back; the tokens have to be observed again. */
  drop(context: PagedContext): void {
    this.pool.give(context.pages)
    context.pages.length = 0
    context.observed = 0
  }

  /** The shared page that holds the tokens from `observed` on, if there is one and it ends before the last token. */
  private next(names: PageNames, observed: number, target: number): number | undefined {
    if (!this.sharing || observed % this.pageSize !== 0) return undefined
    if (observed + this.pageSize >= target) return undefined
    return this.pool.find(names.of(observed / this.pageSize))
  }
}

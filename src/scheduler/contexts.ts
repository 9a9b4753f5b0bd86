/**
 * Contexts as page tables. A full page is named by its tokens and all before them: a chain of
 * digests that begins with a salt, so only contexts of one salt find each other's pages. Integers only.
 */
import { createHash } from 'node:crypto'
import type { PagePool } from './pages.js'

/** Names of the full pages of one context, made when they are first asked for. */
export class PageNames {
  private readonly names: string[] = []

  constructor(
    private readonly salt: string,
    /** All tokens of the context; it may grow at its end. */
    private readonly tokens: readonly number[],
    private readonly pageSize: number,
  ) {}

  /** Of page number `index`, all of whose tokens are there. */
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
  /** It takes over no page of others, and gives them none: who observes it may do so out of turn. */
  readonly whole: boolean
  /** Tokens that `pages` hold, and that they have to hold before the next answer. */
  observed: number
  target: number
}

export class PageTables {
  constructor(
    readonly pool: PagePool,
    private readonly pageSize: number,
    /** Whether the engine lets contexts share pages. */
    readonly sharing: boolean,
  ) {}

  pagesFor(positions: number): number {
    return Math.ceil(positions / this.pageSize)
  }

  /** Pages that have to be taken before `context` reaches `to`. */
  lacking({ pages }: PagedContext, to: number): number {
    return Math.max(0, this.pagesFor(to) - pages.length)
  }

  /** Full pages at the beginning of a context that others hold at this moment. */
  heldByOthers(names: PageNames, target: number): number {
    for (let count = 0; ; count++) {
      const page = this.next(names, count * this.pageSize, target)
      if (page === undefined || this.pool.isIdle(page)) return count
    }
  }

  /**
   * Takes over the pages that hold what `context` has to observe next. Its last token it observes
   * itself: what the network makes of that one may be needed too. Returns the tokens gained.
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

  /** Which contexts have to fill next the very page that one before them fills: they wait for it. */
  following(contexts: readonly PagedContext[]): boolean[] {
    const filling = new Set<string>()
    return contexts.map(({ names, observed, target, whole }) => {
      const index = Math.floor(observed / this.pageSize)
      if (!this.sharing || whole || (index + 1) * this.pageSize >= target) return false
      const name = names.of(index)
      const follows = filling.has(name)
      filling.add(name)
      return follows
    })
  }

  /** `context` observes its tokens up to `to`, in the order of these calls: full pages can be found. */
  advance(context: PagedContext, to: number): void {
    const full = Math.floor(context.observed / this.pageSize)
    context.observed = to
    if (!this.sharing || context.whole) return
    for (let i = full; (i + 1) * this.pageSize <= to; i++)
      this.pool.name(context.pages[i] as number, context.names.of(i))
  }

  /** The end of a share of tokens: a whole page where more is to come, so that others can use it. */
  whole({ observed, target }: PagedContext, to: number): number {
    const even = to - (to % this.pageSize)
    return this.sharing && to < target && even > observed ? even : to
  }

  /** Lets go of everything; the tokens have to be observed again. */
  drop(context: PagedContext): void {
    this.pool.give(context.pages)
    context.pages.length = 0
    context.observed = 0
  }

  /** A page that holds the tokens after the first `observed`, and not the last one. */
  private next(names: PageNames, observed: number, target: number): number | undefined {
    if (!this.sharing || observed % this.pageSize !== 0) return undefined
    if (observed + this.pageSize >= target) return undefined
    return this.pool.find(names.of(observed / this.pageSize))
  }
}

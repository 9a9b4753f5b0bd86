/**
 * Cache pages as integers: how many contexts hold each, and the name under which its content can be
 * found. A page that no context holds keeps its name and is idle until it is found again or reused; the
 * page that has been idle longest is reused first. What a page contains only the engine knows.
 */
export class PagePool {
  readonly size: number
  /** Pages that no context holds and that have no name. */
  private readonly free: number[]
  /** Pages that no context holds and that have a name, longest idle first. */
  private readonly idle = new Set<number>()
  private readonly references: Int32Array
  private readonly byName = new Map<string, number>()
  private readonly names = new Map<number, string>()

  constructor(pages: number) {
    this.size = pages
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i)
    this.references = new Int32Array(pages)
  }

  /** Pages that at least one context holds. */
  get used(): number {
    return this.size - this.available
  }

  get available(): number {
    return this.free.length + this.idle.size
  }

  /** Takes `count` pages with one holder each. Undefined, and nothing is taken, when fewer are available. */
  take(count: number): number[] | undefined {
    if (count > this.available) return undefined
    return Array.from({ length: count }, () => {
      const page = this.free.pop() ?? this.takeIdle()
      this.references[page] = 1
      return page
    })
  }

  /** The page with this name, held or idle. */
  find(name: string): number | undefined {
    return this.byName.get(name)
  }

  /** Whether a named page is held by no context. */
  isIdle(page: number): boolean {
    return this.idle.has(page)
  }

  /** Names a held page. The first page that was given a name keeps it. */
  name(page: number, name: string): void {
    if (this.byName.has(name)) return
    this.byName.set(name, page)
    this.names.set(page, name)
  }

  /** Adds a holder to a page that is held or idle. */
  share(page: number): void {
    if (this.idle.delete(page)) this.references[page] = 1
    else this.references[page] = this.holders(page) + 1
  }

  /** Removes a holder from each page, the last page first, so that the end of a context is reused first. */
  give(pages: readonly number[]): void {
    for (const page of [...pages].reverse()) {
      const left = this.holders(page) - 1
      this.references[page] = left
      if (left > 0) continue
      if (this.names.has(page)) this.idle.add(page)
      else this.free.push(page)
    }
  }

  /** Removes all names: no page can be found any more. */
  forget(): void {
    this.byName.clear()
    this.names.clear()
    this.free.push(...this.idle)
    this.idle.clear()
  }

  private takeIdle(): number {
    for (const page of this.idle) {
      this.idle.delete(page)
      this.byName.delete(this.names.get(page) as string)
      this.names.delete(page)
      return page
    }
    throw new RangeError('no page is idle')
  }

  private holders(page: number): number {
    const count = this.references[page]
    if (!count) throw new RangeError(`page ${page} has no holder`)
    return count
  }
}

/**
 * Cache pages as integers: who holds each, and under which name what it holds can be found again. A
 * page without a holder keeps its name and waits, idle, until it is found or its room is needed: the
 * one that has waited longest goes first. What a page holds is the engine's business.
 */
export class PagePool {
  readonly size: number
  /** Pages that nobody holds and that hold nothing of use. */
  private readonly free: number[]
  /** Pages that nobody holds and that have a name, longest idle first. */
  private readonly idle = new Set<number>()
  private readonly references: Int32Array
  private readonly byName = new Map<string, number>()
  private readonly names = new Map<number, string>()

  constructor(pages: number) {
    this.size = pages
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i)
    this.references = new Int32Array(pages)
  }

  /** Pages that somebody holds. */
  get used(): number {
    return this.size - this.available
  }

  get available(): number {
    return this.free.length + this.idle.size
  }

  /** `count` pages with one holder each; undefined, and nothing taken, when fewer are available. */
  take(count: number): number[] | undefined {
    if (count > this.available) return undefined
    return Array.from({ length: count }, () => {
      const page = this.free.pop() ?? this.takeIdle()
      this.references[page] = 1
      return page
    })
  }

  /** The page of this name. */
  find(name: string): number | undefined {
    return this.byName.get(name)
  }

  /** Whether nobody holds a page that can be found. */
  isIdle(page: number): boolean {
    return this.idle.has(page)
  }

  /** Makes a held page findable. The first page of a name keeps it. */
  name(page: number, name: string): void {
    if (this.byName.has(name)) return
    this.byName.set(name, page)
    this.names.set(page, name)
  }

  /** One more holder for a page that is held or idle. */
  share(page: number): void {
    if (this.idle.delete(page)) this.references[page] = 1
    else this.references[page] = this.heldBy(page) + 1
  }

  /** One holder less for each page, the last first: of a context, its end is idle longest. */
  give(pages: readonly number[]): void {
    for (const page of [...pages].reverse()) {
      const left = this.heldBy(page) - 1
      this.references[page] = left
      if (left > 0) continue
      if (this.names.has(page)) this.idle.add(page)
      else this.free.push(page)
    }
  }

  /** No page can be found any more. */
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

  private heldBy(page: number): number {
    const count = this.references[page]
    if (!count) throw new RangeError(`page ${page} is held by nobody`)
    return count
  }
}

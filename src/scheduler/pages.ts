/**
 * Cache pages as integers: a free list and a reference count per page, so that contexts with a
 * common beginning can share pages. What a page holds is the engine's business.
 */
export class PagePool {
  readonly size: number
  private readonly free: number[]
  private readonly references: Int32Array

  constructor(pages: number) {
    this.size = pages
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i)
    this.references = new Int32Array(pages)
  }

  get used(): number {
    return this.size - this.free.length
  }

  get available(): number {
    return this.free.length
  }

  /** `count` pages with one reference each; undefined, and nothing taken, when fewer are free. */
  take(count: number): number[] | undefined {
    if (count > this.free.length) return undefined
    const pages = this.free.splice(this.free.length - count, count)
    for (const page of pages) this.references[page] = 1
    return pages
  }

  /** One more holder for each page. */
  share(pages: readonly number[]): void {
    for (const page of pages) {
      this.references[page] = this.heldBy(page) + 1
    }
  }

  /** One holder less for each page; a page without holders is free at once. */
  give(pages: readonly number[]): void {
    for (const page of pages) {
      const left = this.heldBy(page) - 1
      this.references[page] = left
      if (left === 0) this.free.push(page)
    }
  }

  private heldBy(page: number): number {
    const count = this.references[page]
    if (!count) throw new RangeError(`page ${page} is held by nobody`)
    return count
  }
}

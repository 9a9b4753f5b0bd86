/**
 * Waiting requests: in order of arrival within a client, round-robin between clients. A client is an
 * opaque key.
 */
export class FairQueue<T> {
  /** The waiting items of each client. The first client is next; no list is empty. */
  private readonly lines = new Map<string, T[]>()
  private count = 0

  get size(): number {
    return this.count
  }

  push(client: string, item: T): void {
    const line = this.lines.get(client)
    if (line) line.push(item)
    else this.lines.set(client, [item])
    this.count++
  }

  /** The first item of each client that may have its turn; the client whose turn it is comes first. */
  heads(may: (item: T) => boolean): T[] {
    return [...this.lines.values()].flatMap((line) => line.find(may) ?? [])
  }

  /** Removes an item of a client, and puts the client behind the others. */
  take(client: string, item: T): void {
    const line = this.lines.get(client)
    const place = line?.indexOf(item) ?? -1
    if (!line || place < 0) throw new RangeError('the item is not in the queue')
    this.lines.delete(client)
    line.splice(place, 1)
    if (line.length > 0) this.lines.set(client, line)
    this.count--
  }

  *[Symbol.iterator](): Generator<T> {
    for (const line of this.lines.values()) yield* line
  }

  /** Removes the first match; the others keep their places. */
  remove(matches: (item: T) => boolean): T | undefined {
    for (const [client, line] of this.lines) {
      const place = line.findIndex(matches)
      if (place < 0) continue
      const [item] = line.splice(place, 1)
      if (line.length === 0) this.lines.delete(client)
      this.count--
      return item
    }
    return undefined
  }

  find(matches: (item: T) => boolean): T | undefined {
    for (const line of this.lines.values()) {
      const item = line.find(matches)
      if (item !== undefined) return item
    }
    return undefined
  }
}

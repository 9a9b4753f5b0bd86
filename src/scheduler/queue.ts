/**
 * Waiting requests: first come, first served within a client, and turns between clients. Clients
 * are opaque keys.
 */
export class FairQueue<T> {
  /** In order of turns: the first client is next. No client has an empty line. */
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

  /** Who is next. */
  peek(): T | undefined {
    for (const line of this.lines.values()) return line[0]
    return undefined
  }

  /** Takes the next one and passes the turn to the next client. */
  take(): T | undefined {
    for (const [client, line] of this.lines) {
      this.lines.delete(client)
      const item = line.shift()
      if (line.length > 0) this.lines.set(client, line)
      this.count--
      return item
    }
    return undefined
  }

  /** Takes out the first match, wherever it stands; the others keep their places. */
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

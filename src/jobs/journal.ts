/**
 * The events of one job, under consecutive numbers, for any number of readers, each at its own pace. An
 * event is written first and published once the store has it. Events are texts here; this file knows
 * neither jobs nor stores.
 */
export class Journal {
  private readonly lines: string[]
  /** How many events, from the first on, may be read. */
  private publishedCount: number
  private ended = false
  private readonly waiting = new Set<() => void>()

  /** `lines`: events of an earlier process, from number 0 on. */
  constructor(lines: readonly string[] = []) {
    this.lines = [...lines]
    this.publishedCount = lines.length
  }

  /** Number of events, published or not. */
  get length(): number {
    return this.lines.length
  }

  get published(): number {
    return this.publishedCount
  }

  at(number: number): string | undefined {
    return this.lines[number]
  }

  /** All from this number on, published or not. */
  from(number: number): string[] {
    return this.lines.slice(number)
  }

  write(line: string): void {
    this.lines.push(line)
  }

  unpublished(): string[] {
    return this.lines.slice(this.publishedCount)
  }

  publish(count: number): void {
    this.publishedCount += count
    this.wake()
  }

  end(): void {
    this.ended = true
    this.wake()
  }

  /** Published events after number `after`, as they come, to the end of the job or until `left` aborts. */
  async *follow(after: number, left: AbortSignal): AsyncGenerator<string, void> {
    for (let next = after + 1; !left.aborted;) {
      const line = next < this.publishedCount ? this.lines[next] : undefined
      if (line !== undefined) {
        next++
        yield line
      } else if (this.ended) return
      else await this.nextEvent(left)
    }
  }

  /** Resolves when an event is published, the job ends or the reader leaves. */
  private nextEvent(left: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const proceed = () => {
        this.waiting.delete(proceed)
        left.removeEventListener('abort', proceed)
        resolve()
      }
      this.waiting.add(proceed)
      left.addEventListener('abort', proceed)
    })
  }

  private wake(): void {
    for (const proceed of [...this.waiting]) proceed()
  }
}

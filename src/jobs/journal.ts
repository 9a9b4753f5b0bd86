/**
 * What has been said of a job, event by event under consecutive numbers, for readers that come and go
 * and read at their own pace. An event is written first and published when it is safe. Holds texts;
 * knows neither jobs nor stores.
 */
export class Journal {
  private readonly lines: string[]
  /** So many may be read. */
  private public: number
  private ended = false
  private readonly waiting = new Set<() => void>()

  /** `lines`: what was said before, from number 0 on. */
  constructor(lines: readonly string[] = []) {
    this.lines = [...lines]
    this.public = lines.length
  }

  /** Of all that was written. */
  get length(): number {
    return this.lines.length
  }

  get published(): number {
    return this.public
  }

  at(number: number): string | undefined {
    return this.lines[number]
  }

  write(line: string): void {
    this.lines.push(line)
  }

  unpublished(): string[] {
    return this.lines.slice(this.public)
  }

  publish(count: number): void {
    this.public += count
    this.wake()
  }

  end(): void {
    this.ended = true
    this.wake()
  }

  /** Every published event after number `after`, to the end or until the reader has left. */
  async *follow(after: number, left: AbortSignal): AsyncGenerator<string, void> {
    for (let next = after + 1; !left.aborted;) {
      const line = next < this.public ? this.lines[next] : undefined
      if (line !== undefined) {
        next++
        yield line
      } else if (this.ended) return
      else await this.news(left)
    }
  }

  private news(left: AbortSignal): Promise<void> {
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

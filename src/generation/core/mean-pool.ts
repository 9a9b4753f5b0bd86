/** The running mean of the states of observed tokens. */
export class MeanPool {
  private sum: Float64Array | undefined
  private count = 0

  /** `sum`: over `count` tokens, [D]. */
  add(sum: Float32Array, count: number): void {
    const before = this.sum
    this.sum = before ? before.map((x, i) => x + (sum[i] as number)) : Float64Array.from(sum)
    this.count += count
  }

  clear(): void {
    this.sum = undefined
    this.count = 0
  }

  get mean(): Float32Array {
    return Float32Array.from(this.sum ?? [], (x) => x / this.count)
  }
}

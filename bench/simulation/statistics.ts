/** Means and quantiles of many numbers in little memory. */

/** Width of a class of a distribution, as a share of its values: so exact are quantiles. */
const CLASS_WIDTH = 0.01
const LOG_WIDTH = Math.log1p(CLASS_WIDTH)
/** Values below this are counted as 0: for seconds, a microsecond. */
const LEAST = 1e-6

export class Distribution {
  count = 0
  sum = 0
  largest = 0
  private zeros = 0
  private readonly classes: number[] = []

  add(value: number): void {
    if (!(value >= 0)) throw new RangeError(`${value} is no duration`)
    this.count++
    this.sum += value
    this.largest = Math.max(this.largest, value)
    if (value < LEAST) {
      this.zeros++
      return
    }
    const at = Math.floor(Math.log(value / LEAST) / LOG_WIDTH)
    while (this.classes.length <= at) this.classes.push(0)
    this.classes[at] = (this.classes[at] as number) + 1
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }

  /** The middle of the class in which the share `share` of the values is reached. */
  quantile(share: number): number {
    let left = share * this.count - this.zeros
    if (left <= 0) return 0
    for (const [at, count] of this.classes.entries()) {
      left -= count
      if (left <= 0) return LEAST * Math.exp((at + 0.5) * LOG_WIDTH)
    }
    return this.largest
  }
}

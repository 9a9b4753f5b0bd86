/** Statistics of lists of numbers. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** The standard deviation of a population (the sum of squares is divided by n). */
export function standardDeviation(values: readonly number[]): number {
  const centre = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)))
}

/** Pearson's r; 0 if either list is constant. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const [centreA, centreB] = [mean(a), mean(b)]
  const product = mean(a.map((value, i) => (value - centreA) * ((b[i] as number) - centreB)))
  const scale = standardDeviation(a) * standardDeviation(b)
  return scale === 0 ? 0 : product / scale
}

/** Spearman's rho, the correlation of ranks; equal values have their mean rank. */
export const rankCorrelation = (a: readonly number[], b: readonly number[]): number =>
  correlation(ranks(a), ranks(b))

function ranks(values: readonly number[]): number[] {
  const order = values
    .map((_, i) => i)
    .sort((i, j) => (values[i] as number) - (values[j] as number))
  const out = new Array<number>(values.length)
  for (let from = 0; from < order.length;) {
    let to = from
    const value = values[order[from] as number]
    while (to < order.length && values[order[to] as number] === value) to++
    for (let i = from; i < to; i++) out[order[i] as number] = (from + to - 1) / 2
    from = to
  }
  return out
}

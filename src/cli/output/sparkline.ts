/** Draws a curve as one line of text. */
const bars = Array.from('▁▂▃▄▅▆▇█')

/** At most `width` bars, scaled from the lowest value to the highest; longer curves are sampled. */
export function sparkline(values: readonly number[], width: number): string {
  const finite = values.filter(Number.isFinite)
  const count = Math.min(width, finite.length)
  const points = Array.from(
    { length: count },
    (_, i) => finite[Math.round((i * (finite.length - 1)) / Math.max(1, count - 1))] as number,
  )
  const least = Math.min(...points)
  const range = Math.max(...points) - least
  return points
    .map((value) => bars[range === 0 ? 0 : Math.round(((value - least) / range) * 7)])
    .join('')
}

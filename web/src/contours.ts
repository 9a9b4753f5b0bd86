/** Contour lines of a grid of numbers (marching squares), and the values between its points. */

type Point = readonly [number, number]

/** Bilinear; `x` in columns, `y` in rows. */
export function interpolate(grid: readonly (readonly number[])[], x: number, y: number): number {
  const rows = grid.length
  const columns = grid[0]?.length ?? 0
  const i = Math.min(columns - 2, Math.max(0, Math.floor(x)))
  const j = Math.min(rows - 2, Math.max(0, Math.floor(y)))
  const [u, v] = [x - i, y - j]
  const at = (row: number, column: number): number => grid[row]?.[column] ?? 0
  return (
    (1 - v) * ((1 - u) * at(j, i) + u * at(j, i + 1)) +
    v * ((1 - u) * at(j + 1, i) + u * at(j + 1, i + 1))
  )
}

/** So many levels between 0 and 1, without the ends. */
export const levelsOf = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => (i + 1) / (count + 1))

/** Segments where the grid passes `level`, in columns and rows. */
export function contoursOf(grid: readonly (readonly number[])[], level: number): [Point, Point][] {
  const segments: [Point, Point][] = []
  for (let j = 0; j + 1 < grid.length; j++) {
    const [lower, upper] = [grid[j] ?? [], grid[j + 1] ?? []]
    for (let i = 0; i + 1 < lower.length; i++) {
      // Corners in their order around the square, each with the next.
      const corners = [
        { x: i, y: j, value: lower[i] ?? 0 },
        { x: i + 1, y: j, value: lower[i + 1] ?? 0 },
        { x: i + 1, y: j + 1, value: upper[i + 1] ?? 0 },
        { x: i, y: j + 1, value: upper[i] ?? 0 },
      ]
      const crossings = corners.flatMap((a, k): Point[] => {
        const b = corners[(k + 1) % 4] ?? a
        if (a.value < level === b.value < level) return []
        const t = (level - a.value) / (b.value - a.value)
        return [[a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)]]
      })
      const [p, q, r, s] = crossings
      if (p && q) segments.push([p, q])
      if (r && s) segments.push([r, s])
    }
  }
  return segments
}

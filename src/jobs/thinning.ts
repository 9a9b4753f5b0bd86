/** Refinement may go on without end; what is written down of it may not. */

/** So many steps of a job are told one by one. */
const ALL = 1000

/**
 * Whether step number `n` of a job, from 0, is told: all of the first thousand, then every second up
 * to two thousand, every fourth up to four thousand, and so on. A hundred thousand steps leave 4,500
 * events behind. A function of `n` alone, so that the same descent tells the same steps again.
 */
export function isTold(n: number): boolean {
  if (n < ALL) return true
  const gap = 2 ** (Math.floor(Math.log2(n / ALL)) + 1)
  return n % gap === 0
}

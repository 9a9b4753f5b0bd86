/** Which steps of a job are kept: refinement may go on without end, but its record must stay small. */

/** The first steps of a job are all recorded, up to this number. */
const ALL_RECORDED_STEPS = 1000

/**
 * Whether step number `n` of a job (0-based) is recorded: all of the first thousand, then every second up
 * to two thousand, every fourth up to four thousand, and so on, so 100,000 steps leave 4,500 events. A
 * function of `n` alone, so that a job that is computed again records the same steps.
 */
export function isRecorded(n: number): boolean {
  if (n < ALL_RECORDED_STEPS) return true
  const gap = 2 ** (Math.floor(Math.log2(n / ALL_RECORDED_STEPS)) + 1)
  return n % gap === 0
}

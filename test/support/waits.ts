/** How long a client waits beside others that attack the server. */

/** Set on a machine that does nothing else: the figures are printed, and the bound is the stated one. */
export const idleMachine = process.env['BASIN_FIGURES'] !== undefined

/** What a client may have to wait, in milliseconds, where three times the undisturbed wait is less. */
const MOST_MS = idleMachine ? 500 : 5000

/** The 99th percentile of the time that `ask` takes, in milliseconds. */
export async function percentile99(count: number, ask: () => Promise<unknown>): Promise<number> {
  const waits: number[] = []
  for (let i = 0; i < count; i++) {
    const began = performance.now()
    await ask()
    waits.push(performance.now() - began)
  }
  waits.sort((a, b) => a - b)
  return waits[Math.ceil(0.99 * count) - 1] ?? Infinity
}

export const mostWait = (undisturbed: number): number => Math.max(3 * undisturbed, MOST_MS)

/** Divides the prefill budget of one step among requests. A pure function on integers. */

/**
 * Max-min fair division: no share exceeds its need, and what small needs leave over goes to the large
 * ones. The shares add up to min(budget, sum of needs).
 */
export function fairShares(needs: readonly number[], budget: number): number[] {
  const shares = new Array<number>(needs.length).fill(0)
  const order = [...needs.keys()].sort((a, b) => (needs[a] as number) - (needs[b] as number))
  let left = budget
  order.forEach((index, served) => {
    const share = Math.min(needs[index] as number, Math.ceil(left / (order.length - served)))
    shares[index] = share
    left -= share
  })
  return shares
}

/** Rules for the integers between two bounds, as JSON writes them. Pure. */

/** Digits of a free integer: as many as a double holds exactly, so that a model comes to their end. */
export const FREE_DIGITS = 15

const digit = (from: string, to: string): string => (from === to ? `"${from}"` : `[${from}-${to}]`)

const free = (count: number): string => (count === 0 ? '' : ` [0-9]{${count}}`)

/** Numbers of equally many digits, at least one, from `low` to `high`. */
function between(low: string, high: string): string[] {
  const [first = '', last = ''] = [low[0], high[0]]
  const [lowRest, highRest] = [low.slice(1), high.slice(1)]
  const { length } = lowRest
  const [least, most] = ['0'.repeat(length), '9'.repeat(length)]
  if (first === last && (lowRest !== least || highRest !== most)) {
    return between(lowRest, highRest).map((each) => `"${first}" (${each})`)
  }
  // Digits that may be followed by any others.
  const from = Number(first) + (lowRest === least ? 0 : 1)
  const to = Number(last) - (highRest === most ? 0 : 1)
  return [
    ...(lowRest === least ? [] : between(lowRest, most).map((each) => `"${first}" (${each})`)),
    ...(from > to ? [] : [digit(String(from), String(to)) + free(length)]),
    ...(highRest === most ? [] : between(least, highRest).map((each) => `"${last}" (${each})`)),
  ]
}

/** From `low` to `high`, both at least 0. */
function natural(low: number, high: number): string[] {
  const [shortest, longest] = [String(low).length, String(high).length]
  return Array.from({ length: longest - shortest + 1 }, (_, i) => shortest + i).flatMap(
    (digits) => {
      const from = digits === shortest ? String(low) : `1${'0'.repeat(digits - 1)}`
      const to = digits === longest ? String(high) : '9'.repeat(digits)
      return between(from, to)
    },
  )
}

/** An expression for the integers from `low` to `high`; undefined where there are none. */
export function integersBetween(low: number, high: number): string | undefined {
  if (low > high) return undefined
  const negative = low < 0 ? natural(Math.max(1, -high), -low).map((each) => `"-" (${each})`) : []
  const positive = high >= 0 ? natural(Math.max(0, low), high) : []
  return `(${[...negative, ...positive].join(' | ')})`
}

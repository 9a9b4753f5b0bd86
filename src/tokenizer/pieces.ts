/**
 * Cuts text where no token may straddle: at special tokens, and inside runs so long that a regular
 * expression or byte-pair merging would take more than linear time on them. Training and encoding
 * share these cuts.
 */

/**
 * Longest run of white space, or of anything else, that stays whole, in UTF-16 units. Byte-pair
 * merging is quadratic in the length of a piece, and backtracking over white space is bounded by the
 * regular expression's own limit: with the cut, both are linear in the text.
 */
const LONGEST_RUN = 512

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

/** Text between special tokens as it is, special tokens as their ids; the longest name wins. */
export function splitSpecial(
  text: string,
  special: ReadonlyMap<string, number>,
): (string | number)[] {
  if (special.size === 0) return [text]
  const names = [...special.keys()].sort((a, b) => b.length - a.length)
  return text
    .split(new RegExp(`(${names.map(escape).join('|')})`, 'u'))
    .filter((piece) => piece !== '')
    .map((piece) => special.get(piece) ?? piece)
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00

/** The text in order, in as few parts as leave no run longer than LONGEST_RUN. */
export function cutLongRuns(text: string): string[] {
  const parts: string[] = []
  let start = 0
  for (const { 0: run, index } of text.matchAll(/\p{White_Space}+|\P{White_Space}+/gu)) {
    const end = index + run.length
    for (let from = index; end - from > LONGEST_RUN; from = start) {
      const to = from + LONGEST_RUN
      const whole = isHighSurrogate(text.charCodeAt(to - 1)) ? to - 1 : to
      parts.push(text.slice(start, whole))
      start = whole
    }
  }
  if (start < text.length) parts.push(text.slice(start))
  return parts
}

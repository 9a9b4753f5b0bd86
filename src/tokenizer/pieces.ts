/**
 * Cuts text into pieces that no token crosses: at special tokens, and inside very long runs, on which a
 * regular expression or byte-pair merging would take more than linear time. Training and encoding use
 * the same cuts.
 */

/**
 * Longest run of white space, or of other characters, that is not cut, in UTF-16 units. Byte-pair merging
 * is quadratic in the length of a piece, and the regular expression refuses to backtrack far over white
 * space; with this limit both take linear time in the length of the text.
 */
const LONGEST_RUN = 512

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

/** The text in order: special tokens as their ids, text between them unchanged. The longest name matches. */
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

/** The text in order, cut into as few parts as possible so that no run exceeds LONGEST_RUN. */
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

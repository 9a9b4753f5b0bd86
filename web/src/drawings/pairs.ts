/** Which brackets of a text belong together. */

const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}', '<': '>' }
/** Stands where there is no bracket. */
export const PAD = '.'

interface Arc {
  from: number
  to: number
  /** Pairs within it, one in the other. */
  height: number
}

/** The pairs that match, and the positions that have no partner. */
export function pairsOf(text: readonly string[]): { arcs: Arc[]; alone: Set<number> } {
  const open: { position: number; height: number }[] = []
  const arcs: Arc[] = []
  const alone = new Set<number>()
  text.forEach((bracket, position) => {
    if (bracket in CLOSING) open.push({ position, height: 1 })
    else if (bracket !== '' && bracket !== PAD) {
      const last = open.at(-1)
      if (last && CLOSING[text[last.position] ?? ''] === bracket) {
        open.pop()
        arcs.push({ from: last.position, to: position, height: last.height })
        const outer = open.at(-1)
        if (outer) outer.height = Math.max(outer.height, last.height + 1)
      } else alone.add(position)
    }
  })
  for (const { position } of open) alone.add(position)
  return { arcs, alone }
}

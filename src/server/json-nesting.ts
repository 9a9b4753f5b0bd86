/** How deep JSON nests, found out before it is parsed: whatever handles the result may recurse. */
const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN = [0x5b, 0x7b]
const CLOSE = [0x5d, 0x7d]

/** Whether lists and objects are nested deeper than `limit`. The result means nothing for a text that is not JSON. */
export function nestsBeyond(json: string, limit: number): boolean {
  let depth = 0
  let quoted = false
  for (let i = 0; i < json.length; i++) {
    const character = json.charCodeAt(i)
    if (quoted) {
      if (character === BACKSLASH) i++
      else if (character === QUOTE) quoted = false
    } else if (character === QUOTE) quoted = true
    else if (OPEN.includes(character)) {
      if (++depth > limit) return true
    } else if (CLOSE.includes(character)) depth--
  }
  return false
}

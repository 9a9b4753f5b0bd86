/**
 * Which tokens keep a text valid UTF-8. Classes of characters like `[^"]` are matched by the library without a look
 * at what follows the first byte of a character, so half a surrogate pair or a number beyond Unicode would match;
 * decoded, it is several characters in place of one. Pure.
 */

/** What the next byte may be after the bytes of an unfinished character, and where each leads. */
interface Place {
  ranges: readonly (readonly [from: number, to: number, next: string])[]
}

const continuation = (next: string, from = 0x80, to = 0xbf): Place => ({
  ranges: [[from, to, next]],
})

/** RFC 3629, section 4. The name says which bytes are missing. */
const places: Readonly<Record<string, Place>> = {
  none: {
    ranges: [
      [0x00, 0x7f, 'none'],
      [0xc2, 0xdf, 'one'],
      [0xe0, 0xe0, 'afterE0'],
      [0xe1, 0xec, 'two'],
      [0xed, 0xed, 'afterED'],
      [0xee, 0xef, 'two'],
      [0xf0, 0xf0, 'afterF0'],
      [0xf1, 0xf3, 'three'],
      [0xf4, 0xf4, 'afterF4'],
    ],
  },
  one: continuation('none'),
  two: continuation('one'),
  three: continuation('two'),
  afterE0: continuation('one', 0xa0),
  afterED: continuation('one', 0x80, 0x9f),
  afterF0: continuation('two', 0x90),
  afterF4: continuation('two', 0x80, 0x8f),
}

/** Where a text begins, and every whole character ends. */
export const BETWEEN_CHARACTERS = 'none'

/** Undefined where no character goes on so. */
function after(place: string, bytes: Uint8Array): string | undefined {
  let here: string | undefined = place
  for (const byte of bytes) {
    here = places[here]?.ranges.find(([from, to]) => from <= byte && byte <= to)?.[2]
    if (here === undefined) return undefined
  }
  return here
}

export class Utf8Tokens {
  /** By place: one bit for each token, as in the masks of grammars. */
  private readonly fitting = new Map<string, Int32Array>()

  /** `vocabulary`: the bytes of each token; empty where no text contains it, as of the end. */
  constructor(private readonly vocabulary: readonly Uint8Array[]) {}

  /** Takes the tokens out of the mask that cannot follow at this place. */
  restrict(mask: Int32Array, place: string): void {
    const fitting = this.at(place)
    for (let i = 0; i < mask.length; i++) mask[i] = (mask[i] as number) & (fitting[i] as number)
  }

  /** The place after a token that fits. */
  after(place: string, token: number): string {
    return after(place, this.vocabulary[token] ?? new Uint8Array(0)) ?? BETWEEN_CHARACTERS
  }

  private at(place: string): Int32Array {
    const known = this.fitting.get(place)
    if (known) return known
    const mask = new Int32Array(Math.ceil(this.vocabulary.length / 32))
    this.vocabulary.forEach((bytes, token) => {
      if (after(place, bytes) === undefined) return
      mask[token >> 5] = (mask[token >> 5] as number) | (1 << (token & 31))
    })
    this.fitting.set(place, mask)
    return mask
  }
}

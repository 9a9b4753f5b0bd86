/** Tokens that keep a text valid UTF-8, against the decoder of the platform. */
import { expect, it } from 'vitest'
import { isAllowed } from '../../src/tokenizer/grammar/grammar.js'
import { BETWEEN_CHARACTERS, Utf8Tokens } from '../../src/tokenizer/grammar/utf8-tokens.js'
import { pick, randomOf } from '../support/arbitrary.js'

/** Every byte, pairs that a vocabulary may have, and a token without bytes. */
const vocabulary = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...['é', '😀', 'a€'].map((text) => new TextEncoder().encode(text)),
  Uint8Array.of(0xed, 0xa0),
  Uint8Array.of(0x80, 0x80),
  Uint8Array.of(0xbf, 0x41, 0xf4),
  new Uint8Array(0),
]
const all = () => new Int32Array(Math.ceil(vocabulary.length / 32)).fill(-1)

/** Whether some text begins with these bytes. */
function canGoOn(bytes: readonly number[]): boolean {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    decoder.decode(Uint8Array.from(bytes), { stream: true })
    return true
  } catch {
    return false
  }
}

it('are those after which the text can go on, at every place', () => {
  const tokens = new Utf8Tokens(vocabulary)
  const random = randomOf(7)
  for (let text = 0; text < 60; text++) {
    const bytes: number[] = []
    let place = BETWEEN_CHARACTERS
    for (let length = 0; length < 12; length++) {
      const mask = all()
      tokens.restrict(mask, place)
      const allowed = vocabulary.flatMap((_, token) => (isAllowed(mask, token) ? [token] : []))
      expect(allowed).toEqual(
        vocabulary.flatMap((more, token) => (canGoOn([...bytes, ...more]) ? [token] : [])),
      )
      // First bytes of long characters lead to the places that are rare.
      const long = allowed.filter((token) => token >= 0xe0 && token < 256)
      const token = pick(random, long.length > 0 && random() < 0.7 ? long : allowed)
      bytes.push(...(vocabulary[token] ?? []))
      place = tokens.after(place, token)
    }
  }
})

import { expect, it } from 'vitest'
import { assemble } from '../../src/tokenizer/assemble.js'
import { mapTokens } from '../../src/tokenizer/token-map.js'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js'

const utf8 = new TextEncoder()

/** Of tokens that are texts or single bytes; the last one is special. */
function tokenizerOf(tokens: readonly (string | number)[]): Tokenizer {
  const bytes = tokens.map((token) =>
    typeof token === 'number' ? Uint8Array.of(token) : utf8.encode(token),
  )
  const end = tokens.length
  const special = new Map([['<end>', end]])
  return assemble(new Map(bytes.entries()), special, end, () => [])
}

it('maps tokens to those of the same bytes, parts of characters too, and never special ones', () => {
  const from = tokenizerOf(['a', 'ab', 0xc3, 0xa9, '<end>'])
  const to = tokenizerOf([0xa9, '<end>', 'ab', 'b', 0xc3])
  const { missing, to: map } = mapTokens(from, to, 8)
  expect(Array.from(map)).toEqual([-1, 2, 4, 0, 1, -1, -1, -1])
  expect(missing).toEqual([0])
})

it('maps every token of a tokenizer to itself', () => {
  const same = tokenizerOf(['a', 'b', ' c'])
  expect(Array.from(mapTokens(same, same, 4).to)).toEqual([0, 1, 2, -1])
})

/** Rules as a reader of the page types them. */
import { describe, expect, it } from 'vitest'
import { diagonals, examples, parseRule } from '../../web/src/rule-text.js'

describe('rules of the page', () => {
  it('are terms of a request', () => {
    const required = true
    expect(examples.map(parseRule)).toEqual([
      { type: 'distinct', positions: [[0, 7, 14, 21, 28, 35]], required },
      { type: 'sum', positions: [0, 1, 6], equals: 9, required },
      { type: 'compare', less: 0, than: 2, required },
      { type: 'token', position: 12, tokens: ['3', '5'], required },
      { type: 'token', position: 12, tokens: ['3'], not: true, required },
      { type: 'count', token: '3', equals: 6, required },
      { type: 'contains', text: 'dragon' },
      { type: 'similar', text: 'a sad ending' },
      { type: 'model', model: 'sudoku6-exact' },
      { type: 'model', model: 'sudoku6-exact', weight: -4 },
    ])
    expect(parseRule('4 > 3')).toEqual({ type: 'compare', less: 3, than: 4, required })
    expect(parseRule(diagonals(6))).toEqual({
      type: 'distinct',
      positions: [
        [0, 7, 14, 21, 28, 35],
        [5, 10, 15, 20, 25, 30],
      ],
      required,
    })
  })

  it.each([
    '',
    'no',
    'sum 1 2',
    'sum a = 3',
    'distinct 4',
    '0 <',
    'token x = 1',
    'count 3',
    'model',
  ])('%j is none', (text) => {
    expect(parseRule(text)).toBeUndefined()
  })
})

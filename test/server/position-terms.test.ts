/** Choices and expressions for answers that fill templates. */
import { describe, expect, it } from 'vitest'
import { positionTerms } from '../../src/server/requests/position-terms.js'
import { configOf } from '../support/models.js'

const model = configOf({ name: 'grid', template: { blank: '_', length: 3 } })
const regex = (pattern: string) => ({ type: 'regex' as const, pattern, param: 'guided_regex' })
const choice = (...choices: string[]) => ({
  type: 'choice' as const,
  choices,
  param: 'guided_choice',
})
const term = (position: number, tokens: string, not = false) => ({
  type: 'token',
  position,
  tokens: Array.from(tokens),
  not,
  required: true,
})

describe('the terms of a structure', () => {
  it.each([
    ['[12][3-5].', [term(0, '12'), term(1, '345')]],
    ['a\\.[^1-3]', [term(0, 'a'), term(1, '.'), term(2, '123', true)]],
    ['\\d{2}[\\]x-]', [term(0, '0123456789'), term(1, '0123456789'), term(2, ']x-')]],
  ])('say what each position may hold: %s', (pattern, terms) => {
    expect(positionTerms(regex(pattern), model)).toEqual(terms)
  })

  it('are those of choices of which every mixture is one', () => {
    expect(positionTerms(choice('abc'), model)).toEqual([term(0, 'a'), term(1, 'b'), term(2, 'c')])
    expect(positionTerms(choice('abc', 'abd'), model)).toEqual([
      term(0, 'a'),
      term(1, 'b'),
      term(2, 'cd'),
    ])
    expect(positionTerms(choice('acx', 'adx', 'bcx', 'bdx', 'bdx'), model)).toHaveLength(3)
  })

  it.each([
    [choice('abc', 'bad'), /guided_choice is not supported: in a template each position/],
    [choice('abc', 'ab'), /must be equally long/],
    [choice('ab'), /answers of grid have 3 positions, and it describes 2/],
    [regex('(ab)c'), /guided_regex is not supported: in a template each position/],
    [regex('ab*'), /one character or class after the other/],
    [regex('\\w{3}'), /one character or class after the other/],
    [regex('[1-6]{36}'), /and it describes 36/],
    [
      { type: 'ebnf' as const, rules: 'root ::= "a"', param: 'guided_json' },
      /belongs into the template/,
    ],
  ])('cannot be had of %j', (grammar, message) => {
    expect(() => positionTerms(grammar, model)).toThrow(message)
  })
})

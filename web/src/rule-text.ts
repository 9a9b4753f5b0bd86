/** Rules as a reader types them, such as `0 < 2`, and the terms of a request that they stand for. */
import type { EnergyTerm } from './wire.js'

/** Rules that hold for a whole board, by the kind of its layout. */
export const diagonals = (columns: number): string =>
  [
    'distinct',
    Array.from({ length: columns }, (_, i) => i * columns + i).join(' '),
    '/',
    Array.from({ length: columns }, (_, i) => (i + 1) * (columns - 1)).join(' '),
  ].join(' ')

export const examples = [
  'distinct 0 7 14 21 28 35',
  'sum 0 1 6 = 9',
  '0 < 2',
  'token 12 = 3 5',
  'token 12 != 3',
  'count 3 = 6',
  'contains dragon',
  'similar a sad ending',
  'model sudoku6-exact',
  'model sudoku6-exact -4',
] as const

const positions = (text: string): number[] =>
  text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(Number)
const whole = (numbers: readonly number[]): boolean =>
  numbers.length > 0 && numbers.every((n) => Number.isInteger(n) && n >= 0)

/** Undefined where it is no rule. Rules about tokens are required; the others are wishes, `model` with a weight of its own. */
export function parseRule(text: string): EnergyTerm | undefined {
  const rule = text.trim()
  const [, distinct] = /^distinct\s+(.+)$/i.exec(rule) ?? []
  if (distinct !== undefined) {
    const groups = distinct.split('/').map(positions)
    const enough = groups.every((group) => whole(group) && group.length > 1)
    return enough ? { type: 'distinct', positions: groups, required: true } : undefined
  }
  const [, summands, total] = /^sum\s+(.+?)\s*=\s*(\d+)$/i.exec(rule) ?? []
  if (summands !== undefined) {
    const at = positions(summands)
    return whole(at)
      ? { type: 'sum', positions: at, equals: Number(total), required: true }
      : undefined
  }
  const [, left, sign, right] = /^(\d+)\s*([<>])\s*(\d+)$/.exec(rule) ?? []
  if (left !== undefined) {
    const [less, than] = sign === '<' ? [left, right] : [right, left]
    return { type: 'compare', less: Number(less), than: Number(than), required: true }
  }
  const [, place, is, tokens] = /^token\s+(\d+)\s*(!?=)\s*(\S.*)$/i.exec(rule) ?? []
  if (tokens !== undefined) {
    const not = is === '!=' ? { not: true } : {}
    const position = Number(place)
    return { type: 'token', position, tokens: tokens.split(/\s+/), ...not, required: true }
  }
  const [, token, often] = /^count\s+(\S+)\s*=\s*(\d+)$/i.exec(rule) ?? []
  if (token !== undefined) return { type: 'count', token, equals: Number(often), required: true }
  const [, said] = /^contains\s(.+)$/i.exec(rule) ?? []
  if (said !== undefined) return { type: 'contains', text: said }
  const [, model, weight] = /^model\s+(\S+)(?:\s+([+-]?\d+(?:\.\d+)?))?$/i.exec(rule) ?? []
  if (model !== undefined)
    return { type: 'model', model, ...(weight !== undefined && { weight: Number(weight) }) }
  const [, near] = /^similar\s+(.+)$/i.exec(rule) ?? []
  return near === undefined ? undefined : { type: 'similar', text: near }
}

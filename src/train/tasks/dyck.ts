/**
 * Brackets to be closed: an opening part is given, and the answer is the brackets that close it, in their
 * only right order, followed by `.` up to the end of the block. The answer of `..([]{______` is
 * `..([]{})....`. The opening part begins at a random position, so that parts longer than those trained on
 * use the same positions.
 */
import { BLANK, checkRange, PAD, type Draws, type Range, type Task } from './task.js'

export interface DyckOptions {
  /** Number of brackets that are given, each with equal probability. */
  length: Range
  /** Kinds of brackets, 1 to 4. */
  kinds: number
  /** K, at least twice the length of the longest opening part. */
  block: number
}

const pairs = ['()', '[]', '{}', '<>'] as const

const bracket = (kind: number, side: 0 | 1): string => pairs[kind]?.[side] as string

/** Draws an opening part; `open` is the kinds of the brackets that are not closed, the outermost first. */
function drawOpening(
  draws: Draws,
  length: number,
  kinds: number,
): { text: string; open: number[] } {
  // The probability that the next bracket opens is drawn for each part, so that some stay shallow and
  // others become deep.
  const opens = 0.3 + 0.6 * draws.share()
  const open: number[] = []
  let text = ''
  for (let i = 0; i < length; i++) {
    const kind = open.length > 0 && draws.share() >= opens ? open.pop() : undefined
    if (kind !== undefined) {
      text += bracket(kind, 1)
      continue
    }
    const drawn = draws.below(kinds)
    open.push(drawn)
    text += bracket(drawn, 0)
  }
  return { text, open }
}

/** Renames kinds of brackets in the order of their first appearance, and drops padding and blanks. */
function rename(text: string): string {
  const names = new Map<string, number>()
  return Array.from(text.replaceAll(PAD, '').replaceAll(BLANK, ''), (character) => {
    const pair = pairs.find((two) => two.includes(character)) as string
    const name = names.get(pair) ?? names.size
    names.set(pair, name)
    return bracket(name, pair.startsWith(character) ? 0 : 1)
  }).join('')
}

export function dyckTask({ length, kinds, block }: DyckOptions): Task {
  checkRange('kinds', { min: kinds, max: kinds }, 1, pairs.length)
  checkRange('block', { min: block, max: block }, 2, 4096)
  checkRange('length', length, 1, Math.floor(block / 2))
  return {
    name: 'opening part',
    block,
    layout: { kind: 'brackets' },
    alphabet: [...pairs.slice(0, kinds).flatMap((pair) => pair.split('')), PAD],
    draw(draws) {
      const { text, open } = drawOpening(draws, draws.within(length), kinds)
      if (open.length === 0) return undefined
      const close = [...open].reverse().map((kind) => bracket(kind, 1))
      const offset = draws.below(block - text.length - open.length + 1)
      const given = PAD.repeat(offset) + text
      return {
        template: given.padEnd(block, BLANK),
        completion: (given + close.join('')).padEnd(block, PAD),
        facts: { length: text.length, depth: open.length },
      }
    },
    form: rename,
    answerForm: rename,
  }
}

/**
 * Brackets to be closed: an opening part is given, and the answer is the brackets that close it, in
 * their one right order, `.` after the end. `..([]{______` is answered `..([]{})....`. The opening part
 * begins at a position drawn evenly, so that longer ones than were trained on use the same positions.
 */
import { BLANK, checkRange, PAD, type Draws, type Range, type Task } from './task.js'

export interface DyckOptions {
  /** Brackets that are given, drawn evenly. */
  length: Range
  /** Kinds of brackets, 1 to 4. */
  kinds: number
  /** K; at least twice the longest opening part. */
  block: number
}

const pairs = ['()', '[]', '{}', '<>'] as const

const bracket = (kind: number, side: 0 | 1): string => pairs[kind]?.[side] as string

/** Brackets of which `opens` of all steps open one, and those that are still open at the end. */
function drawOpening(
  draws: Draws,
  length: number,
  kinds: number,
): { text: string; open: number[] } {
  // Evenly from walks that mostly come back to ones that mostly go deeper.
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

/** Kinds of brackets renamed in the order they appear, wherever they stand. */
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

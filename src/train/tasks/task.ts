/**
 * A generated task: examples that fill one fixed block, drawn from a seed, each with exactly one right
 * completion, so that an answer is right if and only if it equals the completion. This file knows no
 * files, no model and no flags.
 */
import { BasinError } from '../../errors.js'
import type { TemplateLayout } from '../../model/config.js'
import { Draws, type Range } from './draws.js'

export { Draws, type Range } from './draws.js'

/** Marks a position of a template that is to be inferred. */
export const BLANK = '_'

/** Fills positions that belong to no operand, item or bracket. */
export const PAD = '.'

/** Digits in `width` columns, the first of them in column `offset`, with PAD in the others. */
export const inColumns = (digits: readonly number[], offset: number, width: number): string =>
  (PAD.repeat(offset) + digits.join('')).padEnd(width, PAD)

export interface TaskExample {
  /** K tokens: the given ones, and blanks elsewhere. */
  template: string
  /** The template with its blanks filled in. */
  completion: string
  /** Figures of its difficulty, such as its number of digits, by name. */
  facts: Readonly<Record<string, number>>
  /** Rules beside those that a model was trained for, as the `energy_terms` of a request. */
  terms?: readonly object[]
}

export interface Task {
  readonly name: string
  /** K: tokens of a template, and positions of the model's answer. */
  readonly block: number
  /** How its templates are drawn; absent: as text. */
  readonly layout?: TemplateLayout
  /** The texts of all tokens of a completion. Without `pattern`, characters in the order of their ids. */
  readonly alphabet: readonly string[]
  /** Where tokens are words: the regular expression that cuts a completion into them. */
  readonly pattern?: string
  /** What marks a blank; BLANK if absent. */
  readonly blank?: string
  /** One example; undefined if these random numbers do not lead to a valid one. */
  draw(draws: Draws): TaskExample | undefined
  /** A canonical form, which is equal for templates that pose the same problem written differently. */
  form(template: string): string
  /** A canonical form, which is equal for completions that are the same answer written differently. */
  answerForm(completion: string): string
}

/** Throws `out_of_range` unless `range` lies within least..most. */
export function checkRange(param: string, range: Range, least: number, most: number): void {
  const { min, max } = range
  if (min >= least && min <= max && max <= most) return
  throw new BasinError('out_of_range', {
    param,
    bound: `a range within ${least} to ${most}`,
    value: `${min}..${max}`,
  })
}

/** After so many attempts in a row without a new example, there are taken to be no more. */
const MAX_IDLE_ATTEMPTS = 10_000

export interface DrawOptions {
  count: number
  seed: number
  /** Canonical forms of problems and of answers that must not occur. */
  exclude?: Iterable<string>
}

/**
 * Draws `count` examples, no two of the same form; the same options give the same examples. Throws
 * `out_of_range` if there are not so many.
 */
export function* drawExamples(
  task: Task,
  { count, seed, exclude }: DrawOptions,
): Generator<TaskExample> {
  const seen = new Set(exclude)
  let made = 0
  let idle = 0
  for (let attempt = 0; made < count; attempt++) {
    const example = task.draw(new Draws(seed, attempt))
    if (example && isFresh(task, example, seen)) {
      seen.add(task.form(example.template))
      made++
      idle = 0
      yield example
    } else if (++idle > MAX_IDLE_ATTEMPTS) {
      throw new BasinError('out_of_range', {
        param: 'count',
        bound: `at most ${made}: no further ${task.name} was found`,
        value: count,
      })
    }
  }
}

const isFresh = (task: Task, { template, completion }: TaskExample, seen: Set<string>): boolean =>
  !seen.has(task.form(template)) && !seen.has(task.answerForm(completion))

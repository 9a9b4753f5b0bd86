/**
 * What a generated task is: examples that are whole answers of one fixed block, drawn from a seed,
 * each with exactly one right completion, so that an answer is right if and only if it equals it.
 * Knows no file, no model and no flag.
 */
import { BasinError } from '../../errors.js'
import type { TemplateLayout } from '../../model/config.js'
import { uniform } from '../../refine/random.js'

/** Marks, in a template, a position to be inferred. */
export const BLANK = '_'

/** Stands in positions that belong to no operand, item or bracket: padding, and the end of an answer. */
export const PAD = '.'

export interface TaskExample {
  /** K characters: what is given, and BLANK elsewhere. */
  template: string
  /** The template with its blanks filled in. */
  completion: string
  /** How hard it is, in figures to sort by, such as its number of digits. */
  facts: Readonly<Record<string, number>>
}

export interface Task {
  readonly name: string
  /** K: characters of a template, and positions of the model's answer. */
  readonly block: number
  /** How its templates are drawn; absent: as text. */
  readonly layout?: TemplateLayout
  /** Every character of a completion, in the order of their token ids. */
  readonly alphabet: readonly string[]
  /** One example; undefined where the draws came to nothing fit. */
  draw(draws: Draws): TaskExample | undefined
  /** Equal for templates that are one and the same problem in another guise. */
  form(template: string): string
  /** Equal for completions that are the same answer in another guise. */
  answerForm(completion: string): string
}

/** Random numbers of one attempt: a function of (seed, attempt, how many were drawn before). */
export class Draws {
  #drawn = 0

  constructor(
    private readonly seed: number,
    private readonly attempt: number,
  ) {}

  /** Evenly in (0, 1). */
  share(): number {
    return uniform(this.seed, this.attempt, this.#drawn++)
  }

  /** An integer, evenly in 0 to below - 1. */
  below(below: number): number {
    return Math.floor(this.share() * below)
  }

  /** An integer, evenly in min to max. */
  within({ min, max }: Range): number {
    return min + this.below(max - min + 1)
  }

  /** In place. */
  shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const other = items[j]
      items[j] = items[i]
      items[i] = other
    }
  }
}

/** Integers from min to max, both included. */
export interface Range {
  min: number
  max: number
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

/** Attempts in a row without a new example after which there are taken to be no more. */
const PATIENCE = 10_000

export interface DrawOptions {
  count: number
  seed: number
  /** Forms of problems and forms of answers that must not occur. */
  exclude?: Iterable<string>
}

/**
 * `count` examples, the same for the same options, no two of the same form. Throws `out_of_range`
 * where there are not so many.
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
    } else if (++idle > PATIENCE) {
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

/**
 * What a modelled engine knows of a real one: the energies of searches that the real engine has made, and the
 * time that its calls took. `record.ts` writes it to a file, `modelled-engine.ts` plays it back.
 */
import { readFileSync } from 'node:fs'

/** One descent of a recorded search. */
export interface RecordedDescent {
  /**
   * By step, the energy at the state before it. A second list begins where guesses were opened, from where the
   * energies are those of another question.
   */
  energies: readonly (readonly number[])[]
  /** Its best answer was the right one when it ended. */
  right: boolean
}

/** How hard a board is: by its givens, or as its collection says. */
export const levels = ['easy', 'hard', 'hardest'] as const
export type Level = (typeof levels)[number]

/** A search for the answer to one board, until the energy target was reached or the steps were spent. */
export interface RecordedBoard {
  template: string
  completion: string
  level: Level
  /** Of the request. */
  seed: number
  /** In the order in which they began. */
  descents: readonly RecordedDescent[]
  /** By number of steps: whether the board was right where all of them were taken, by descents from noise. */
  equal: readonly { steps: number; right: boolean }[]
}

/** Seconds of calls of an engine. */
export interface Timing {
  /** Of one descent step by number of rows, in ascending order. */
  step: readonly { rows: number; seconds: number }[]
  /** To save the state of a candidate, or to restore it. */
  move: number
  /** For each answer: its context is observed, it begins and is read. */
  answer: number
}

export interface Recording {
  model: string
  /** What saved answers of the engine have in common: of the model and its weights, in hexadecimal. */
  identity: string
  engine: string
  machine: string
  commit: string
  /** Most steps of a search. */
  most: number
  /** Candidates at a time. */
  keep: number
  timing: Timing
  boards: readonly RecordedBoard[]
}

export const readRecording = (path: string): Recording =>
  JSON.parse(readFileSync(path, 'utf8')) as Recording

/** Between measured numbers of rows the time is linear; beyond them it goes on as between the last two. */
export function stepSeconds({ step }: Pick<Timing, 'step'>, rows: number): number {
  const [first] = step
  if (!first) throw new RangeError('no step was timed')
  if (rows <= first.rows || step.length === 1) return first.seconds
  const above = step.findIndex((each) => each.rows >= rows)
  const right = above < 0 ? step.length - 1 : above
  const [a, b] = [step[right - 1], step[right]]
  if (!a || !b) throw new RangeError('the times of steps are not in order')
  return a.seconds + ((rows - a.rows) * (b.seconds - a.seconds)) / (b.rows - a.rows)
}

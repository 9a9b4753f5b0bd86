/** Stands in a template, and in `clamped`, for a position that is to be inferred. */
export const BLANK = -1

/** Which positions of a completion one answer stands for, and what is known of them. */
export interface AnswerShape {
  /** How many answers of this completion came before. */
  index: number
  /** Of its noise. */
  seed: number
  /** Index of its first position in the completion, in tokens; negative in what is given before. */
  position: number
  /** Numbers of a readout: K x V. */
  readout: number
  /** Positions that count: K, or fewer at the end of a completion. */
  length: number
  /** [K] known tokens, BLANK where the position moves; undefined when all move. */
  clamped: readonly number[] | undefined
}

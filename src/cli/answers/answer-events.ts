/** What the terminal shows of an answer, whether it is computed in this process or by a server. */
import type { TemplateLayout } from '../../model/config.js'

/** The answer as it would be read after a step. */
export interface ReadAnswer {
  step: number
  energy: number
  text: string
  /** The most probable reading of each position. */
  positions?: readonly { tokens: readonly string[]; probabilities: readonly number[] }[]
}

export type AnswerEvent =
  | ({ type: 'step'; candidate: number } & ReadAnswer)
  | {
      /** Text that does not change any more. */
      type: 'settled'
      text: string
      energy: { initial: number; final: number }
      seconds: number
    }
  | {
      type: 'finished'
      /** The whole answer. */
      text: string
      tokens: number
      steps: number
      restarts: number
      stopReason: string
      terms: readonly { type: string; value: number; satisfied: boolean }[]
    }

export interface WatchedAnswer {
  /** For one reader. Throws what the answer failed with. */
  events: AsyncIterable<AnswerEvent>
  /** Ends it with the best so far; its last events follow. */
  finish: () => void
}

/** How a model's templates are written, and drawn. */
export interface TemplateShape {
  blank: string
  length?: number
  layout?: TemplateLayout
}

/**
 * The answers that a settling event brings, one by one and in their order, in whatever way the worker
 * sent them: alone, or several in the columns of one event.
 */
import type { StopReason } from '../refine/budget.js'
import type { EnergySummary, Of, RequestEvent, SettledColumns, TokenLogprob } from './protocol.js'

/** An answer that has become text. */
export interface SettledAnswer {
  /** Index of its first position in the completion, in tokens. */
  position: number
  /** New text that is certain not to change. */
  text: string
  tokens: number
  steps: number
  energy: EnergySummary
  stopReason: StopReason
  /** Seconds of descent. */
  seconds: number
  /** Seconds between its settling and the report that brought it. */
  ago: number
  logprobs?: readonly TokenLogprob[]
  /** Energy of its tokens as a given answer, if `judge` was asked for. */
  tokenEnergy?: number
  /** [D], if `represent` asked for answers. */
  representation?: Float32Array
}

export type SettledEvent = Of<'committed'> | Of<'stride'>

export const isSettled = (event: RequestEvent): event is SettledEvent =>
  event.type === 'committed' || event.type === 'stride'

/** None for an event of another kind. */
export function settledAnswers(event: RequestEvent): readonly SettledAnswer[] {
  if (event.type === 'committed') return [{ ...event, ago: event.ago ?? 0 }]
  return event.type === 'stride' ? rows(event.answers, event.text) : []
}

/** Columns hold neither texts nor positions: the first row has the whole text, positions count from it. */
function rows(columns: SettledColumns, text: string): SettledAnswer[] {
  let position = 0
  return columns.stopReasons.map((stopReason, i) => {
    const tokens = columns.tokens[i] as number
    const answer = {
      position,
      text: i === 0 ? text : '',
      tokens,
      steps: columns.steps[i] as number,
      energy: {
        initial: columns.initial[i] as number,
        final: columns.final[i] as number,
        best: columns.best[i] as number,
      },
      stopReason,
      seconds: columns.seconds[i] as number,
      ago: columns.agos[i] as number,
    }
    position += tokens
    return answer
  })
}

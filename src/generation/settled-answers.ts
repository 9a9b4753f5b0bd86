/**
 * The answers that a `settled` event brings: in columns while they cross from thread to thread, which
 * takes a fraction of the time that objects take, and one by one for whoever reads them. Both threads
 * use it; it knows neither the engine nor the API.
 */
import type { StopReason } from '../refine/budget.js'
import type { TermResult } from '../refine/terms/term.js'
import type { EnergySummary, Of, RequestEvent, SettledColumns, TokenLogprob } from './protocol.js'

/** An answer that has become text. */
export interface SettledAnswer {
  /**
   * Index of its first position in the completion, in tokens. A held answer that was extended settles
   * again at the same position, in place of what it was.
   */
  position: number
  /** New text that is certain not to change: never half a character, never part of a stop text. */
  text: string
  /** How many tokens it added. */
  tokens: number
  /** Of the chosen candidate. */
  steps: number
  energy: EnergySummary
  stopReason: StopReason
  /** Of descent. */
  seconds: number
  /** Seconds between the moment it became text and the report that brings it. */
  ago: number
  /** If the request asked for log-probabilities. */
  logprobs?: readonly TokenLogprob[]
  /** Energy of its tokens as a given answer, if the request asked for it. */
  tokenEnergy?: number
  /** Of the completion up to this answer, if the request has terms. */
  terms?: readonly TermResult[]
  /** [D], if the request asked for representations of answers. */
  representation?: Float32Array
}

/** An answer of which it is not known yet how long ago it settled when it is reported. */
export type NewAnswer = Omit<SettledAnswer, 'ago'>

/** A column of what only some answers have; absent where none has it. */
const columnOf = <T>(values: readonly (T | undefined)[]): readonly (T | undefined)[] | undefined =>
  values.some((value) => value !== undefined) ? values : undefined

/** One event for answers of one request, in their order; `agos`: of each. */
export function settledEvent(
  answers: readonly NewAnswer[],
  agos: readonly number[],
): Of<'settled'> {
  const logprobs = columnOf(answers.map((answer) => answer.logprobs))
  const tokenEnergies = columnOf(answers.map((answer) => answer.tokenEnergy))
  const terms = columnOf(answers.map((answer) => answer.terms))
  const representations = columnOf(answers.map((answer) => answer.representation))
  return {
    type: 'settled',
    positions: answers.map(({ position }) => position),
    texts: answers.map(({ text }) => text),
    tokens: answers.map(({ tokens }) => tokens),
    steps: answers.map(({ steps }) => steps),
    initial: answers.map(({ energy }) => energy.initial),
    final: answers.map(({ energy }) => energy.final),
    best: answers.map(({ energy }) => energy.best),
    stopReasons: answers.map(({ stopReason }) => stopReason),
    seconds: answers.map(({ seconds }) => seconds),
    agos,
    ...(logprobs && { logprobs }),
    ...(tokenEnergies && { tokenEnergies }),
    ...(terms && { terms }),
    ...(representations && { representations }),
  }
}

export const isSettled = (event: RequestEvent): event is Of<'settled'> => event.type === 'settled'

/** The answers that an event brings, in their order; none if it is of another type. */
export const settledAnswers = (event: RequestEvent): readonly SettledAnswer[] =>
  isSettled(event) ? event.positions.map((_, i) => answerAt(event, i)) : []

function answerAt(columns: SettledColumns, i: number): SettledAnswer {
  const logprobs = columns.logprobs?.[i]
  const tokenEnergy = columns.tokenEnergies?.[i]
  const representation = columns.representations?.[i]
  const terms = columns.terms?.[i]
  return {
    position: columns.positions[i] as number,
    text: columns.texts[i] as string,
    tokens: columns.tokens[i] as number,
    steps: columns.steps[i] as number,
    energy: {
      initial: columns.initial[i] as number,
      final: columns.final[i] as number,
      best: columns.best[i] as number,
    },
    stopReason: columns.stopReasons[i] as StopReason,
    seconds: columns.seconds[i] as number,
    ago: columns.agos[i] as number,
    ...(logprobs && { logprobs }),
    ...(tokenEnergy !== undefined && { tokenEnergy }),
    ...(terms && { terms }),
    ...(representation && { representation }),
  }
}

/**
 * Answers of a patient job, told together: what their `committed` events would say, in columns, which
 * cross from thread to thread in a fraction of the time.
 */
import type { RequestEvent, Of, Settled, SettledColumns } from './protocol.js'

/** Nothing is said of it but its text and its account. */
export const isPlain = ({ logprobs, representation, tokenEnergy }: Of<'committed'>): boolean =>
  logprobs === undefined && representation === undefined && tokenEnergy === undefined

export const strideOf = (answers: readonly Of<'committed'>[]): Of<'stride'> => ({
  type: 'stride',
  text: answers.map(({ text }) => text).join(''),
  answers: {
    tokens: answers.map(({ tokens }) => tokens),
    steps: answers.map(({ steps }) => steps),
    initial: answers.map(({ energy }) => energy.initial),
    final: answers.map(({ energy }) => energy.final),
    best: answers.map(({ energy }) => energy.best),
    stopReasons: answers.map(({ stopReason }) => stopReason),
    seconds: answers.map(({ seconds }) => seconds),
    agos: answers.map(({ ago = 0 }) => ago),
  },
})

/** The answers that an event brings, in their order. */
export function answersOf(event: RequestEvent): readonly Settled[] {
  if (event.type === 'committed') return [event]
  return event.type === 'stride' ? rows(event.answers) : []
}

const rows = (columns: SettledColumns): Settled[] =>
  columns.stopReasons.map((stopReason, i) => ({
    stopReason,
    tokens: columns.tokens[i] as number,
    steps: columns.steps[i] as number,
    energy: {
      initial: columns.initial[i] as number,
      final: columns.final[i] as number,
      best: columns.best[i] as number,
    },
    seconds: columns.seconds[i] as number,
    ago: columns.agos[i] as number,
  }))

/**
 * Answers of a patient job, told together: what their `committed` events would say, in columns, which
 * cross from thread to thread in a fraction of the time.
 */
import type { JobEvent, Settled, SettledColumns } from './protocol.js'

export type Committed = Extract<JobEvent, { type: 'committed' }>
export type Stride = Extract<JobEvent, { type: 'stride' }>

/** Nothing is said of it but its text and its account. */
export const isPlain = ({ logprobs, representation, tokenEnergy }: Committed): boolean =>
  logprobs === undefined && representation === undefined && tokenEnergy === undefined

export const emptyStride = (): Stride => ({
  type: 'stride',
  text: '',
  answers: {
    ...{ tokens: [], steps: [], initial: [], final: [], best: [] },
    ...{ stopReasons: [], seconds: [], agos: [] },
  },
})

/** Another answer, committed when the clock said `at`, which stands in place of its `ago`. */
export function appendTo(stride: Stride, { energy, text, ...answer }: Committed, at: number): void {
  const { answers } = stride
  stride.text += text
  answers.tokens.push(answer.tokens)
  answers.steps.push(answer.steps)
  answers.initial.push(energy.initial)
  answers.final.push(energy.final)
  answers.best.push(energy.best)
  answers.stopReasons.push(answer.stopReason)
  answers.seconds.push(answer.seconds)
  answers.agos.push(at)
}

/** The answers that an event brings, in their order. */
export function answersOf(event: JobEvent): readonly Settled[] {
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

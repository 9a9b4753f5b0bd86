/**
 * Draws an answer while it settles: a template as what it is, with a curve of its energy; text as it grows; and
 * without a terminal the text alone, as it becomes certain. It knows where answers come from as little as who
 * asked for them.
 */
import { setTimeout } from 'node:timers/promises'
import picocolors from 'picocolors'
import type {
  AnswerEvent,
  ReadAnswer,
  TemplateShape,
  WatchedAnswer,
} from '../answers/answer-events.js'
import { brailleCurve } from './braille.js'
import { Screen, type PendingText } from './screen.js'
import { sparkline } from './sparkline.js'
import { figure, TemplateScreen } from './template-screen.js'

type Settled = Extract<AnswerEvent, { type: 'settled' }>
type Finished = Extract<AnswerEvent, { type: 'finished' }>

const SPARKLINE_WIDTH = 16
/** Between two steps on a terminal: long enough to see that something moves, or what. */
const STEP_MS = 30
const SLOW_STEP_MS = 300

export interface Drawing {
  /** Stands before the answer. */
  prompt?: string
  template?: string
  /** Of the model; default: blanks are marked by `_`. */
  shape?: TemplateShape | undefined
  slow?: boolean | undefined
}

/** Whether what is drawn can be drawn again; else only what is certain is written. */
export const onTerminal = (): boolean => process.stdout.isTTY

/**
 * Shows the answer to its end, and gives its last event and a line that sums it up. Ctrl-C ends it with the
 * best so far; a second one ends the program. Throws what the answer failed with.
 */
export async function drawAnswer(
  { events, finish }: WatchedAnswer,
  drawing: Drawing,
): Promise<{ end: Finished | undefined; summary: string }> {
  // What is refused draws nothing.
  let view: View | undefined
  const account = new Account()
  const pace = { hurried: false }
  const hurry = (): void => {
    pace.hurried = true
    finish()
  }
  process.once('SIGINT', hurry)
  const { slow, template } = drawing
  const milliseconds = slow ? SLOW_STEP_MS : template === undefined ? 0 : STEP_MS
  let end: Finished | undefined
  try {
    for await (const event of events) {
      view ??= viewOf(drawing)
      if (event.type === 'step') {
        if (onTerminal() && !pace.hurried && milliseconds > 0) await setTimeout(milliseconds)
        view.step(event, account.step(event))
      } else if (event.type === 'settled') {
        account.settle(event)
        view.commit(event.text)
      } else end = event
    }
  } finally {
    view?.close()
    process.off('SIGINT', hurry)
  }
  return { end, summary: end ? account.summary(end) : '' }
}

/** One line for each term: its type, its value, and whether the answer satisfies it. */
export const termLines = ({ terms }: Finished): string[] =>
  terms.map(
    ({ satisfied, type, value }) =>
      `${satisfied ? picocolors.green('satisfied') : picocolors.red('unsatisfied')} ${type} ${figure(value)}`,
  )

function viewOf({ prompt = '', shape, template }: Drawing): View {
  if (!onTerminal()) return new PlainView()
  if (template === undefined) return new LiveView(prompt)
  return new TemplateView(new TemplateScreen(process.stdout, template, shape ?? { blank: '_' }))
}

/** Energies of the present answer, and of all answers by step. */
class Account {
  private present: number[] = []
  private answers = 0
  /** Summed over the settled answers. */
  private initial = 0
  private final = 0
  private seconds = 0
  /** Sum and number of energies at each step. */
  private readonly curve: { sum: number; count: number }[] = []

  /** The present answer's energies so far, of its first candidate. */
  step({ candidate, energy, step }: Extract<AnswerEvent, { type: 'step' }>): readonly number[] {
    if (candidate !== 0) return this.present
    this.present.push(energy)
    const point = (this.curve[step - 1] ??= { sum: 0, count: 0 })
    point.sum += energy
    point.count++
    return this.present
  }

  settle({ energy, seconds }: Settled): void {
    this.present = []
    this.answers++
    this.initial += energy.initial
    this.final += energy.final
    this.seconds += seconds
  }

  summary({ restarts, steps, stopReason, tokens }: Finished): string {
    const means = this.curve.flatMap(({ count, sum }) => (count > 0 ? [sum / count] : []))
    const energies = [this.initial, this.final]
      .map((sum) => figure(sum / Math.max(1, this.answers)))
      .join(' → ')
    const mean = this.answers > 1 ? ` (mean of ${this.answers})` : ''
    const anew = restarts > 0 ? `${restarts} restarts, ` : ''
    return (
      `${sparkline(means, SPARKLINE_WIDTH)} energy ${energies}${mean}, ${steps} steps, ${anew}` +
      `${tokens} tokens, ${this.seconds.toFixed(2)} s, ${stopReason}`
    )
  }
}

interface View {
  /** `energies`: of the present answer. */
  step: (event: ReadAnswer & { candidate: number }, energies: readonly number[]) => void
  /** Text that does not change any more. */
  commit: (text: string) => void
  close: () => void
}

/** The answer as it changes, with its energy beneath. */
class LiveView implements View {
  private readonly screen = new Screen(process.stdout)
  /** Of every step so far. */
  private readonly energies: number[] = []

  constructor(prompt: string) {
    this.screen.append(prompt)
  }

  step(event: ReadAnswer & { candidate: number }, energies: readonly number[]): void {
    const { candidate, energy, step } = event
    if (candidate !== 0) return
    this.energies.push(energy)
    const recent = this.energies.slice(-2 * SPARKLINE_WIDTH)
    const [curve = ''] = brailleCurve(recent, SPARKLINE_WIDTH, 1)
    const first = energies[0] ?? energy
    const status = `step ${step}, energy ${figure(first)} → ${figure(energy)}`
    this.screen.draw(pendingOf(event), `${picocolors.cyan(curve)} ${picocolors.dim(status)}`)
  }

  commit(text: string): void {
    this.screen.append(text)
  }

  close(): void {
    this.screen.close()
  }
}

/** Token by token, unless a character is spread over several of them. */
function pendingOf({ positions = [], text }: ReadAnswer): PendingText[] {
  const tokens = positions.map(({ probabilities, tokens: [token = ''] }) => ({
    text: token,
    certainty: probabilities[0] ?? 1,
  }))
  if (tokens.map((token) => token.text).join('') === text) return tokens
  return [{ text, certainty: Math.min(1, ...tokens.map(({ certainty }) => certainty)) }]
}

/** A whole answer, drawn as what it is. */
class TemplateView implements View {
  constructor(private readonly screen: TemplateScreen) {
    screen.draw(undefined, [])
  }

  step(event: ReadAnswer & { candidate: number }, energies: readonly number[]): void {
    if (event.candidate === 0) this.screen.draw(event, energies)
  }

  commit(): void {
    // What settled is on the screen.
  }

  close(): void {
    // It stays there.
  }
}

/** The text alone, as it becomes certain. */
class PlainView implements View {
  step(): void {
    // What may still change does not go into a file.
  }

  commit(text: string): void {
    process.stdout.write(text)
  }

  close(): void {
    process.stdout.write('\n')
  }
}

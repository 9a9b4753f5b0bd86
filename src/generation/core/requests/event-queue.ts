/**
 * Events of requests on their way to a report. Answers of one request that settle in a row are one
 * event. Knows when each event happened and whose it is; knows no engine and no scheduler, and does not
 * decide when a report is due.
 */
import type { EngineRequest, FromWorker, RequestEvent } from '../../protocol.js'
import { type NewAnswer, settledEvent } from '../../settled-answers.js'

type Content = Pick<Extract<FromWorker, { type: 'events' }>, 'events' | 'released'>

/**
 * Events of one report, give or take those of a step: some milliseconds of its reader's time. Answers of
 * a streamed request count one by one, since its reader sends each on its own.
 */
const REPORT_EVENTS = 128

export type OtherEvent = Exclude<RequestEvent, { type: 'settled' }>

type Recipient = Pick<EngineRequest, 'id' | 'buffered'>

/** Times are seconds of any clock. */
type Entry =
  | { id: string; event: OtherEvent; at: number }
  | { id: string; answers: NewAnswer[]; times: number[] }
type AnswersEntry = Extract<Entry, { answers: unknown }>

export class EventQueue {
  /** Whether one of the events must be told at once: an end, or of a stream anything but its start, steps and later tokens. */
  urgent = false
  /** Whether one of the events, starts apart, belongs to a request whose client reads its stream. */
  followed = false
  private entries: Entry[] = []
  private released: string[] = []
  private size = 0
  /** By request: the answers that its next one joins. */
  private readonly open = new Map<string, AnswersEntry>()

  /** `at`: when it happened. */
  push({ id, buffered = false }: Recipient, event: OtherEvent, at: number): void {
    this.open.delete(id)
    this.entries.push({ id, event, at })
    this.size++
    if (event.type === 'started') return
    const last = event.type === 'finished' || event.type === 'failed'
    this.followed ||= !buffered
    this.urgent ||= last || !(event.type === 'step' || buffered)
  }

  pushAnswer({ id, buffered = false }: Recipient, answer: NewAnswer, at: number): void {
    const joined = this.open.get(id)
    if (joined) {
      joined.answers.push(answer)
      joined.times.push(at)
    } else {
      const entry = { id, answers: [answer], times: [at] }
      this.open.set(id, entry)
      this.entries.push(entry)
    }
    if (!joined || !buffered) this.size++
    this.followed ||= !buffered
    this.urgent ||= answer.position <= 0 && !buffered
  }

  /** A held request is gone. */
  release(id: string): void {
    this.released.push(id)
  }

  get empty(): boolean {
    return this.entries.length + this.released.length === 0
  }

  /** Nothing more should happen before these are taken. */
  get full(): boolean {
    return this.size >= REPORT_EVENTS
  }

  take(now: number): Content {
    const { released } = this
    const events = this.entries.map((entry) => ({ id: entry.id, event: eventOf(entry, now) }))
    this.entries = []
    this.size = 0
    this.open.clear()
    this.released = []
    this.urgent = false
    this.followed = false
    return { events, released }
  }
}

function eventOf(entry: Entry, now: number): RequestEvent {
  if ('answers' in entry)
    return settledEvent(
      entry.answers,
      entry.times.map((at) => now - at),
    )
  const { at, event } = entry
  return event.type === 'started' ? { ...event, ago: now - at } : event
}

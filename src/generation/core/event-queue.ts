/** Events of jobs on their way out, until somebody takes them along. */
import type { FromWorker, EngineRequest, RequestEvent, Of } from '../protocol.js'
import { isPlain, strideOf } from '../answer-columns.js'

type Content = Pick<Extract<FromWorker, { type: 'events' }>, 'events' | 'released'>

/** Events of one report, give or take those of a tick: some milliseconds of its reader's time. */
const MOST = 128

/** `at`: when it happened, in seconds of any clock. */
interface Happened<E extends RequestEvent = RequestEvent> {
  event: E
  at: number
}
type Answer = Happened<Of<'committed'>>

export class EventQueue {
  /** One of the events is more than a beginning or a further step or token: a client waits for it. */
  urgent = false
  /** One that is no beginning is of a job whose client follows it. */
  followed = false
  private told: { id: string; what: Happened | readonly Answer[] }[] = []
  private released: string[] = []
  /** Answers of patient jobs that the next one joins, by job. */
  private readonly open = new Map<string, Answer[]>()

  /** `at`: as in `Happened`. */
  push(
    { id, buffered = false }: Pick<EngineRequest, 'id' | 'buffered'>,
    event: RequestEvent,
    at: number,
  ): void {
    if (buffered && event.type === 'committed' && isPlain(event)) this.join(id, { event, at })
    else {
      this.open.delete(id)
      this.told.push({ id, what: { event, at } })
    }
    if (event.type === 'started') return
    const last = event.type === 'finished' || event.type === 'failed'
    const further = event.type === 'step' || (event.type === 'committed' && event.position > 0)
    this.followed ||= !buffered
    this.urgent ||= last || !(further || buffered)
  }

  /** A held job is gone. */
  release(id: string): void {
    this.released.push(id)
  }

  get empty(): boolean {
    return this.told.length + this.released.length === 0
  }

  /** Nothing more should happen before these are taken. */
  get full(): boolean {
    return this.told.length >= MOST
  }

  take(now: number): Content {
    const { released } = this
    const events = this.told.map(({ id, what }) => ({ id, event: asOne(what, now) }))
    this.told = []
    this.open.clear()
    this.released = []
    this.urgent = false
    this.followed = false
    return { events, released }
  }

  private join(id: string, answer: Answer): void {
    const before = this.open.get(id)
    if (before) {
      before.push(answer)
      return
    }
    const answers = [answer]
    this.open.set(id, answers)
    this.told.push({ id, what: answers })
  }
}

function asOne(what: Happened | readonly Answer[], now: number): RequestEvent {
  if (!('event' in what))
    return strideOf(what.map(({ event, at }) => ({ ...event, ago: now - at })))
  const { at, event } = what
  return event.type === 'started' || event.type === 'committed'
    ? { ...event, ago: now - at }
    : event
}

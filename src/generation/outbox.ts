/** Events of jobs on their way out, until somebody takes them along. */
import type { FromWorker, Job, JobEvent, Of } from './protocol.js'
import { isPlain, strideOf } from './stride-event.js'

type Content = Pick<Extract<FromWorker, { type: 'events' }>, 'events' | 'released'>

/** Events of one report, give or take those of a tick: some milliseconds of its reader's time. */
const MOST = 128

/** `at`: when it happened, in seconds of any clock. */
interface Happened<E extends JobEvent = JobEvent> {
  event: E
  at: number
}
type Answer = Happened<Of<'committed'>>

export class Outbox {
  /** One of the events is more than a beginning or a further step or token: a client waits for it. */
  pressing = false
  /** One that is no beginning is of a job whose client follows it. */
  awaited = false
  private told: { id: string; what: Happened | readonly Answer[] }[] = []
  private released: string[] = []
  /** Answers of patient jobs that the next one joins, by job. */
  private readonly open = new Map<string, Answer[]>()

  /** `at`: as in `Happened`. */
  push({ id, patient = false }: Pick<Job, 'id' | 'patient'>, event: JobEvent, at: number): void {
    if (patient && event.type === 'committed' && isPlain(event)) this.join(id, { event, at })
    else {
      this.open.delete(id)
      this.told.push({ id, what: { event, at } })
    }
    if (event.type === 'started') return
    const last = event.type === 'finished' || event.type === 'failed'
    const further = event.type === 'step' || (event.type === 'committed' && event.position > 0)
    this.awaited ||= !patient
    this.pressing ||= last || !(further || patient)
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
    this.pressing = false
    this.awaited = false
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

function asOne(what: Happened | readonly Answer[], now: number): JobEvent {
  if (!('event' in what))
    return strideOf(what.map(({ event, at }) => ({ ...event, ago: now - at })))
  const { at, event } = what
  return event.type === 'started' || event.type === 'committed'
    ? { ...event, ago: now - at }
    : event
}

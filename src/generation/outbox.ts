/** Events of jobs on their way out, until somebody takes them along. */
import type { FromWorker, Job, JobEvent } from './protocol.js'

type Content = Pick<Extract<FromWorker, { type: 'events' }>, 'events' | 'released'>

/** Events of one report, give or take those of a tick: some milliseconds of its reader's time. */
const MOST = 128

export class Outbox {
  /** One of the events is more than a further step or token: a client waits for it. */
  pressing = false
  /** One is of a job whose client follows it. */
  awaited = false
  private events: { id: string; event: JobEvent; at: number }[] = []
  private released: string[] = []

  /** `at`: when it happened, in seconds of any clock. */
  push({ id, patient = false }: Pick<Job, 'id' | 'patient'>, event: JobEvent, at: number): void {
    this.events.push({ id, event, at })
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
    return this.events.length + this.released.length === 0
  }

  /** Nothing more should happen before these are taken. */
  get full(): boolean {
    return this.events.length >= MOST
  }

  take(now: number): Content {
    const { released } = this
    const events = this.events.map(({ id, event, at }) => ({ id, event: told(event, now - at) }))
    this.events = []
    this.released = []
    this.pressing = false
    this.awaited = false
    return { events, released }
  }
}

const told = (event: JobEvent, ago: number): JobEvent =>
  event.type === 'started' || event.type === 'committed' ? { ...event, ago } : event

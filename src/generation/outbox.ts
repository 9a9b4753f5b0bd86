/** Events of jobs on their way out, until somebody takes them along. */
import type { FromWorker, Job, JobEvent } from './protocol.js'
import { appendTo, type Committed, emptyStride, isPlain, type Stride } from './stride-event.js'

type Content = Pick<Extract<FromWorker, { type: 'events' }>, 'events' | 'released'>

/** Events of one report, give or take those of a tick: some milliseconds of its reader's time. */
const MOST = 128

export class Outbox {
  /** One of the events is more than a beginning or a further step or token: a client waits for it. */
  pressing = false
  /** One that is no beginning is of a job whose client follows it. */
  awaited = false
  private events: { id: string; event: JobEvent; at: number }[] = []
  private released: string[] = []
  /** The strides to which answers may yet be added, by job. */
  private readonly open = new Map<string, Stride>()

  /** `at`: when it happened, in seconds of any clock. */
  push({ id, patient = false }: Pick<Job, 'id' | 'patient'>, event: JobEvent, at: number): void {
    if (patient && event.type === 'committed' && isPlain(event)) this.append(id, event, at)
    else {
      this.open.delete(id)
      this.events.push({ id, event, at })
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
    return this.events.length + this.released.length === 0
  }

  /** Nothing more should happen before these are taken. */
  get full(): boolean {
    return this.events.length >= MOST
  }

  take(now: number): Content {
    const { released } = this
    const events = this.events.map(({ id, event, at }) => ({ id, event: told(event, at, now) }))
    this.events = []
    this.open.clear()
    this.released = []
    this.pressing = false
    this.awaited = false
    return { events, released }
  }

  private append(id: string, event: Committed, at: number): void {
    let stride = this.open.get(id)
    if (!stride) {
      stride = emptyStride()
      this.open.set(id, stride)
      this.events.push({ id, event: stride, at: 0 })
    }
    appendTo(stride, event, at)
  }
}

function told(event: JobEvent, at: number, now: number): JobEvent {
  if (event.type === 'started' || event.type === 'committed') return { ...event, ago: now - at }
  if (event.type !== 'stride') return event
  const { agos, ...answers } = event.answers
  return { ...event, answers: { ...answers, agos: agos.map((at) => now - at) } }
}

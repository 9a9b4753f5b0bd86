/**
 * One request on the server's thread: its events for one reader, its controls, and how far it has come. A
 * reader that is far behind loses `step` events that later ones of the same candidate have overtaken, and
 * nothing else, so that what waits for it is bounded. Knows no worker: messages leave through a function.
 */
import { BasinError } from '../../errors.js'
import type { Control, EngineRequest, RequestEvent, ToWorker } from '../protocol.js'

/** One request, from submission to release. */
export interface RequestStream {
  readonly id: string
  /**
   * For one reader. Ends after `finished` or `failed`; with `hold` it stays open after `finished` until the
   * held answer is released. Leaving it early cancels the request.
   */
  readonly events: AsyncIterable<RequestEvent>
  /** Throws `not_held` for an `extend` after the end, `out_of_range` for one that is not a number >= 0. */
  control(control: Control): void
}

/** `held`: finished, and kept so that `extend` can go on from it. */
export type Stage = 'waiting' | 'running' | 'held' | 'ended'

/** Events that may wait before steps are dropped: more than two reports bring (event-queue.ts). */
export const MOST_WAITING = 512

const DONE = { value: undefined, done: true } as const

export class BufferedRequestStream
  implements RequestStream, AsyncIterableIterator<RequestEvent, undefined>
{
  readonly id: string
  readonly client: string
  /** Slots that it needs. */
  readonly candidates: number
  stage: Stage = 'waiting'
  private readonly hold: boolean
  private readonly waiting: RequestEvent[] = []
  /** The reader left before the end: what still happens to the request changes its stage alone. */
  private abandoned = false
  /** Resumes the reader that waits for the next event. */
  private wake: (() => void) | undefined

  constructor(
    { budget, client, hold, id }: Pick<EngineRequest, 'budget' | 'client' | 'hold' | 'id'>,
    private readonly send: (message: ToWorker) => void,
  ) {
    this.id = id
    this.client = client
    this.candidates = budget.candidates
    this.hold = hold
  }

  get events(): AsyncIterable<RequestEvent> {
    return this
  }

  /** Submitted and not finished; a held answer is finished. */
  get isOutstanding(): boolean {
    return this.stage === 'waiting' || this.stage === 'running'
  }

  control(control: Control): void {
    if (control.type === 'extend') {
      checkExtension('steps', control.steps)
      checkExtension('seconds', control.seconds)
      if (this.stage === 'ended') throw new BasinError('not_held', { what: this.id })
      if (this.stage === 'held') this.stage = 'running'
    }
    if (this.stage !== 'ended') this.send({ type: 'control', id: this.id, control })
  }

  /** The next event of the request. */
  push(event: RequestEvent): void {
    if (this.stage === 'ended') return
    this.stage = this.stageAfter(event)
    if (this.abandoned) return
    this.waiting.push(event)
    if (this.waiting.length > MOST_WAITING) dropOvertakenStep(this.waiting)
    this.wake?.()
  }

  /** The worker has let go of it: no further event comes. */
  release(): void {
    this.stage = 'ended'
    this.wake?.()
  }

  async next(): Promise<IteratorResult<RequestEvent, undefined>> {
    for (;;) {
      const next = this.waiting.shift()
      if (next) return { value: next, done: false }
      if (this.stage === 'ended' || this.abandoned) return DONE
      await new Promise<void>((resolve) => (this.wake = resolve))
    }
  }

  return(): Promise<IteratorResult<RequestEvent, undefined>> {
    this.waiting.length = 0
    if (this.stage !== 'ended' && !this.abandoned) {
      this.abandoned = true
      this.wake?.()
      this.control({ type: 'cancel' })
    }
    return Promise.resolve(DONE)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  private stageAfter(event: RequestEvent): Stage {
    switch (event.type) {
      case 'started':
        return 'running'
      case 'finished':
        return this.hold && event.finishReason !== 'cancelled' ? 'held' : 'ended'
      case 'failed':
        return 'ended'
      default:
        return this.stage
    }
  }
}

/** Drops the oldest step after which another of its candidate comes before any event of another type. */
function dropOvertakenStep(events: RequestEvent[]): void {
  const overtaken = events.findIndex((event, i) => {
    if (event.type !== 'step') return false
    const { candidate } = event
    const decides = (later: RequestEvent) => later.type !== 'step' || later.candidate === candidate
    return events.find((later, j) => j > i && decides(later))?.type === 'step'
  })
  if (overtaken >= 0) events.splice(overtaken, 1)
}

type Waiting = Pick<BufferedRequestStream, 'candidates' | 'client' | 'stage'>

/** The requests that wait and find no free slot. */
function queued(streams: readonly Waiting[], slots: number): Waiting[] {
  const waiting = streams.filter(({ stage }) => stage === 'waiting')
  let free = slots - candidatesOf(streams.filter(({ stage }) => stage === 'running'))
  const first = waiting.findIndex(({ candidates }) => (free -= candidates) < 0)
  return first < 0 ? [] : waiting.slice(first)
}

const candidatesOf = (streams: readonly Waiting[]): number =>
  streams.reduce((sum, { candidates }) => sum + candidates, 0)

const clientsOf = (streams: readonly Waiting[]): number =>
  new Set(streams.map(({ client }) => client)).size

/**
 * Throws `queue_full` where `next` would be one more than `limit` in the queue and its client has its share of
 * the queue already: no client can fill it for others. A request that finds a free slot, or has one in its
 * client's share, does not queue, even before the worker knows of it; slots of held answers count as free,
 * since those give way. In the order of submission: an estimate of what the scheduler does.
 */
export function refuseIfFull(
  streams: Iterable<Waiting>,
  next: Waiting,
  slots: number,
  limit: number,
): void {
  const all = [...streams, next].filter(({ stage }) => stage === 'waiting' || stage === 'running')
  const waiting = queued(all, slots)
  if (waiting.length <= limit) return
  const isOwn = ({ client }: Waiting) => client === next.client
  const ownWaiting = waiting.filter(isOwn).length
  const inShare = candidatesOf(all.filter(isOwn)) <= Math.max(1, slots / clientsOf(all))
  if (inShare || ownWaiting <= limit / clientsOf(waiting)) return
  throw new BasinError('queue_full', { waiting: waiting.length - 1, limit })
}

function checkExtension(param: 'steps' | 'seconds', value: number | undefined): void {
  if (value === undefined) return
  const whole = param === 'seconds' || Number.isInteger(value)
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER && whole) return
  const kind = param === 'steps' ? 'an integer' : 'a number'
  throw new BasinError('out_of_range', { param, bound: `${kind} >= 0`, value })
}

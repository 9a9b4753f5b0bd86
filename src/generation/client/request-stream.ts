/** One job as the main thread sees it: its events, its controls, and how far it has come. */
import { BasinError } from '../../errors.js'
import { Inbox } from './event-buffer.js'
import type { Control, EngineRequest, RequestEvent, ToWorker } from '../protocol.js'

/** One job, from submission to release. */
export interface RequestStream {
  readonly id: string
  /**
   * For one consumer. Ends after `finished` or `failed`; with `hold` it stays open after `finished`
   * until the held answer is released. Leaving it early cancels the job.
   */
  readonly events: AsyncIterable<RequestEvent>
  /** Throws `not_held` for an `extend` after the end, `out_of_range` for one that is not a number >= 0. */
  control(control: Control): void
}

/** `held`: finished, and kept for an `extend`. */
export type Stage = 'waiting' | 'running' | 'held' | 'ended'

export class WorkerRequestStream implements RequestStream {
  stage: Stage = 'waiting'
  readonly inbox: Inbox
  readonly id: string
  readonly client: string
  private readonly hold: boolean
  /** Slots that it needs. */
  readonly candidates: number

  constructor(
    { budget, client, hold, id }: Pick<EngineRequest, 'budget' | 'client' | 'hold' | 'id'>,
    private readonly send: (message: ToWorker) => void,
  ) {
    this.id = id
    this.client = client
    this.hold = hold
    this.candidates = budget.candidates
    this.inbox = new Inbox(() => {
      this.send({ type: 'control', id: this.id, control: { type: 'cancel' } })
    })
  }

  get events(): AsyncIterable<RequestEvent> {
    return this.inbox
  }

  control(control: Control): void {
    if (control.type === 'extend') {
      checkExtra('steps', control.steps)
      checkExtra('seconds', control.seconds)
      if (this.stage === 'ended') throw new BasinError('not_held', { what: this.id })
      if (this.stage === 'held') this.stage = 'running'
    }
    if (this.stage !== 'ended') this.send({ type: 'control', id: this.id, control })
  }

  take(event: RequestEvent): void {
    if (event.type === 'started') this.stage = 'running'
    const last = event.type === 'failed' || event.type === 'finished'
    const held = event.type === 'finished' && event.finishReason !== 'cancelled' && this.hold
    if (last) this.stage = held ? 'held' : 'ended'
    this.inbox.push(event)
    if (this.stage === 'ended') this.inbox.end()
  }

  release(): void {
    this.stage = 'ended'
    this.inbox.end()
  }
}

/** How many of the waiting runs have no free slot to go to. */
function queued(runs: Iterable<WorkerRequestStream>, slots: number): number {
  const waiting: number[] = []
  let free = slots
  for (const { candidates, stage } of runs) {
    if (stage === 'running') free -= candidates
    else if (stage === 'waiting') waiting.push(candidates)
  }
  const first = waiting.findIndex((candidates) => (free -= candidates) < 0)
  return first < 0 ? 0 : waiting.length - first
}

/**
 * Throws `queue_full` where `next` would be one more than `limit` in the queue. Who finds a free slot
 * does not queue, even before the worker has heard of it; slots of held answers count as free, since
 * those give way. In the order of submission: an estimate of what the scheduler does.
 */
export function refuseIfFull(
  runs: Iterable<WorkerRequestStream>,
  next: WorkerRequestStream,
  slots: number,
  limit: number,
): void {
  const waiting = queued([...runs, next], slots)
  if (waiting > limit) throw new BasinError('queue_full', { waiting: waiting - 1, limit })
}

function checkExtra(param: 'steps' | 'seconds', value: number | undefined): void {
  if (value === undefined) return
  const whole = param === 'seconds' || Number.isInteger(value)
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER && whole) return
  const kind = param === 'steps' ? 'an integer' : 'a number'
  throw new BasinError('out_of_range', { param, bound: `${kind} >= 0`, value })
}

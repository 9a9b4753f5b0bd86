/**
 * A request after its submission. Whoever consumes its events, its observer sees each of them once; an
 * extension is bound by the operator's caps before the engine hears of it.
 */
import { fromErrorMessage } from '../../errors.js'
import type { RequestStream } from '../../generation/client/engine-client.js'
import type { Control, RequestEvent } from '../../generation/protocol.js'
import type { Extra } from '../../refine/stop.js'
import type { ExtensionAllowance } from './extension-allowance.js'
import type { RequestObserver } from './request-observer.js'

export type SuccessEvent = Exclude<RequestEvent, { type: 'failed' }>

/** `index`: of the request among those that were submitted with it. */
export type EventConsumer = (event: SuccessEvent, index: number) => void | Promise<void>

export class SubmittedRequest implements RequestStream {
  /** It has finished or failed; one that is held may still be extended. */
  ended = false

  constructor(
    private readonly stream: RequestStream,
    /** Among the requests that were submitted with it. */
    private readonly index: number,
    private readonly allowance: ExtensionAllowance,
    readonly observer: RequestObserver,
  ) {}

  get id(): string {
    return this.stream.id
  }

  /** For a consumer that wants a failure as an event; others use `follow`. */
  get events(): AsyncIterable<RequestEvent> {
    return this.observed()
  }

  /**
   * Gives its events to `take`, the next one only when `take` is done with the last. Resolves at the end of
   * the stream; throws what the request failed with. What `take` throws cancels the request.
   */
  async follow(take: EventConsumer): Promise<void> {
    for await (const event of this.stream.events) {
      this.observe(event)
      if (event.type === 'failed') throw fromErrorMessage(event.error)
      await take(event, this.index)
    }
  }

  /** Throws as `RequestStream.control` does, and `out_of_range` for an extension beyond the caps. */
  control(control: Control): void {
    if (control.type === 'extend') this.allowance.extend(control)
    this.stream.control(control)
  }

  /** Throws as an extension by `extra` would, and changes nothing. */
  checkExtension(extra: Extra): void {
    this.allowance.check(extra)
  }

  private observe(event: RequestEvent): void {
    this.observer.observe(event)
    this.allowance.observe(event)
    this.ended ||= event.type === 'finished' || event.type === 'failed'
  }

  private async *observed(): AsyncGenerator<RequestEvent, void> {
    for await (const event of this.stream.events) {
      this.observe(event)
      yield event
    }
  }
}

/** A request that has ended ignores it. */
export function cancelAll(requests: readonly RequestStream[]): void {
  for (const request of requests) request.control({ type: 'cancel' })
}

/** Follows all of them to their ends. The first failure cancels the others, and is thrown. */
export async function followAll(
  requests: readonly SubmittedRequest[],
  take: EventConsumer,
): Promise<void> {
  try {
    await Promise.all(requests.map((request) => request.follow(take)))
  } finally {
    cancelAll(requests)
  }
}

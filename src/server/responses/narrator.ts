/**
 * A run in the words of the Responses API: its events, and the response object that they add up to.
 * The same run is told in the same words, whenever it is told.
 */
import { fromErrorMessage } from '../../errors.js'
import type { JobEvent, Of, TokenLogprob } from '../../generation/protocol.js'
import type { Narrator, Said } from '../../jobs/durable-job.js'
import { isTold } from '../../jobs/thinning.js'
import { told } from '../error-boundary.js'
import type { Logprob, OutputItem, ResponseReply } from '../schemas/responses.js'
import { stepOf } from '../wire.js'

/** What is said of a response from beginning to end. */
export type ResponseHead = Omit<
  ResponseReply,
  | 'completed_at'
  | 'error'
  | 'incomplete_details'
  | 'object'
  | 'output'
  | 'refinement'
  | 'status'
  | 'usage'
>

export interface Telling {
  head: ResponseHead
  /** Of its one message. */
  itemId: string
  /** Events of descent steps were asked for. */
  refinement: boolean
}

const bytesOf = (token: string): number[] => [...Buffer.from(token)]

const logprobOf = ({ logprob, token, top }: TokenLogprob): Logprob => ({
  token,
  logprob,
  bytes: bytesOf(token),
  top_logprobs: top.map((other) => ({ ...other, bytes: bytesOf(other.token) })),
})

const usageOf = ({ completionTokens, promptTokens }: Of<'finished'>['usage']) => ({
  input_tokens: promptTokens,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: completionTokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: promptTokens + completionTokens,
})

type Status = ResponseReply['status']
type Outcome = Partial<
  Pick<ResponseReply, 'error' | 'incomplete_details' | 'refinement' | 'usage'>
> & { status: Status }

export class ResponseNarrator implements Narrator {
  private status: Status = 'in_progress'
  private begun = false
  private text = ''
  private readonly logprobs: Logprob[] = []
  private steps = 0

  constructor(private readonly telling: Telling) {}

  open(): Said {
    if (!this.telling.head.background) return { events: [this.milestone('created')] }
    this.status = 'queued'
    return { events: [this.milestone('created'), this.milestone('queued')] }
  }

  take(event: JobEvent): Said {
    switch (event.type) {
      case 'started':
        return { events: this.begin() }
      case 'step':
        return { events: this.step(event) }
      case 'committed':
        return { events: this.commit(event) }
      case 'finished':
        return this.finish(event)
      case 'failed': {
        const error = told(fromErrorMessage(event.error))
        const code = error.status < 500 ? 'invalid_prompt' : 'server_error'
        return this.end({ status: 'failed', error: { code, message: error.message } })
      }
      case 'judged':
      case 'stride':
      case 'surveyed':
      case 'declined':
        return { events: [] }
    }
  }

  cancel(): Said {
    return this.end({ status: 'cancelled' })
  }

  present(): ResponseReply {
    return this.reply({ status: this.status })
  }

  private begin(): object[] {
    this.begun = true
    this.status = 'in_progress'
    const progress = this.reply({ status: 'in_progress' }, [])
    return [
      { type: 'response.in_progress', response: progress },
      {
        type: 'response.output_item.added',
        output_index: 0,
        item: { ...this.item('in_progress'), content: [] },
      },
      { type: 'response.content_part.added', ...this.place, part: this.part },
    ]
  }

  private step(event: Of<'step'>): object[] {
    const n = this.steps++
    if (!this.telling.refinement || !isTold(n)) return []
    const { itemId } = this.telling
    const step = stepOf(event)
    return [{ type: 'basin:refinement_step', item_id: itemId, output_index: 0, ...step }]
  }

  private commit({ logprobs = [], text }: Of<'committed'>): object[] {
    const added = logprobs.map(logprobOf)
    this.text += text
    this.logprobs.push(...added)
    if (text === '' && added.length === 0) return []
    const delta = { delta: text, logprobs: added }
    return [{ type: 'response.output_text.delta', ...this.place, ...delta }]
  }

  private finish({ finishReason, refinement, usage }: Of<'finished'>): Said {
    const outcome = { refinement, usage: usageOf(usage) }
    if (finishReason === 'stop') return this.end({ status: 'completed', ...outcome })
    if (finishReason === 'cancelled') return this.end({ status: 'cancelled', ...outcome })
    const details = { reason: 'max_output_tokens' as const }
    return this.end({ status: 'incomplete', incomplete_details: details, ...outcome })
  }

  /**
   * There is no event of OpenAI's for a response that was cancelled: clients learn of it by
   * `response.incomplete`, from the status in it.
   */
  private end(outcome: Outcome): Said {
    this.status = outcome.status
    const final = this.reply(outcome)
    const name = outcome.status === 'cancelled' ? 'incomplete' : outcome.status
    const closing = this.begun && outcome.status !== 'failed' ? this.close() : []
    return { events: [...closing, { type: `response.${name}`, response: final }], final }
  }

  private close(): object[] {
    const { logprobs, place, text } = this
    return [
      { type: 'response.output_text.done', ...place, text, logprobs },
      { type: 'response.content_part.done', ...place, part: this.part },
      { type: 'response.output_item.done', output_index: 0, item: this.item() },
    ]
  }

  private milestone(name: 'created' | 'queued'): object {
    return { type: `response.${name}`, response: this.reply({ status: this.status }) }
  }

  private get place() {
    return { item_id: this.telling.itemId, output_index: 0, content_index: 0 }
  }

  private get part(): OutputItem['content'][number] {
    const { logprobs, text } = this
    return { type: 'output_text', text, annotations: [], logprobs: [...logprobs] }
  }

  private item(status = this.itemStatus): OutputItem {
    const content = [this.part]
    return { type: 'message', id: this.telling.itemId, status, role: 'assistant', content }
  }

  private get itemStatus(): string {
    if (this.status === 'completed' || this.status === 'in_progress') return this.status
    return 'incomplete'
  }

  private reply(outcome: Outcome, output = this.begun ? [this.item()] : []): ResponseReply {
    const { head } = this.telling
    const ended = outcome.status !== 'queued' && outcome.status !== 'in_progress'
    return {
      ...head,
      object: 'response',
      completed_at: ended ? Math.floor(Date.now() / 1000) : null,
      error: null,
      incomplete_details: null,
      usage: null,
      refinement: null,
      output,
      ...outcome,
    }
  }
}

/** What an event says: a second telling may differ in times and in the last digits of an energy. */
function gist(event: object): string {
  const { delta, position, step, candidate, text, type } = event as Record<string, unknown>
  return JSON.stringify({ type, delta, position, step, candidate, text })
}

export const sameGist = (first: object, again: object): boolean => gist(first) === gist(again)

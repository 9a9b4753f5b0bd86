/**
 * Writes the events of a request in the format of the Responses API, and the response object that they add up to. Equal
 * events are always written equally: a run that is computed again must repeat what was already sent.
 */
import { fromErrorMessage } from '../../../errors.js'
import type { Of, RequestEvent, TokenLogprob } from '../../../generation/protocol.js'
import {
  isSettled,
  type SettledAnswer,
  settledAnswers,
} from '../../../generation/settled-answers.js'
import type { EmittedEvents, EventWriter } from '../../../jobs/durable-job.js'
import { isRecorded } from '../../../jobs/thinning.js'
import { publicError } from '../../error-boundary.js'
import { stepFields, tokenBytes } from '../../event-fields.js'
import type { Logprob } from '../../schemas/reply-schema.js'
import type { ResponseReply } from '../../schemas/response-schema.js'
import { type OutputMeta, type RecalledEvent, ResponseOutput } from './response-output.js'

/** The fields of a response that do not change. */
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

/** What its events and its object contain besides what the engine reports. */
export interface ResponseMeta extends OutputMeta {
  head: ResponseHead
  /** Events of descent steps were asked for. */
  refinement: boolean
  /** It goes on from the state of another response, which had said this. */
  given?: Given
}

/** What a response has said. */
export interface Given {
  text: string
  logprobs: Logprob[]
  steps: number
}

const logprobOf = ({ logprob, token, top }: TokenLogprob): Logprob => ({
  token,
  logprob,
  bytes: tokenBytes(token),
  top_logprobs: top.map((other) => ({ ...other, bytes: tokenBytes(other.token) })),
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

/** What has been written so far, from which another writer goes on. */
export interface WriterMemory extends Given {
  status: Status
  begun: boolean
}

export class ResponseEventWriter implements EventWriter {
  private status: Status = 'in_progress'
  private begun = false
  private text = ''
  private readonly logprobs: Logprob[] = []
  /** Of which an event was written or, among many, left out. */
  private steps = 0
  private readonly output: ResponseOutput

  /** `memory`: of the writer that it goes on from. */
  constructor(
    private readonly meta: ResponseMeta,
    memory?: unknown,
  ) {
    this.output = new ResponseOutput(meta)
    if (memory === undefined) return
    const { logprobs, ...others } = memory as WriterMemory
    Object.assign(this, others)
    this.logprobs.push(...logprobs)
    // Its events were written by the other.
    if (this.begun) this.output.begin()
    this.output.say(this.text, this.logprobs)
  }

  memory(): WriterMemory {
    const { begun, logprobs, status, steps, text } = this
    return { begun, logprobs: [...logprobs], status, steps, text }
  }

  open(): EmittedEvents {
    if (!this.meta.head.background) return { events: [this.statusEvent('created')] }
    this.status = 'queued'
    return { events: [this.statusEvent('created'), this.statusEvent('queued')] }
  }

  take(event: RequestEvent): EmittedEvents {
    if (isSettled(event)) {
      return { events: settledAnswers(event).flatMap((answer) => this.settle(answer)) }
    }
    switch (event.type) {
      case 'started':
        // An answer that goes on has begun before.
        return { events: this.begun ? [] : this.begin() }
      case 'step':
        return { events: this.step(event) }
      case 'finished':
        return this.finish(event)
      case 'failed': {
        const error = publicError(fromErrorMessage(event.error))
        const code = error.status < 500 ? 'invalid_prompt' : 'server_error'
        return this.end({ status: 'failed', error: { code, message: error.message } })
      }
      case 'saved':
      case 'scored':
      case 'probed':
      case 'declined':
        return { events: [] }
    }
  }

  recall(event: object): void {
    const written = event as RecalledEvent
    const { delta = '', logprobs = [], type } = written
    this.output.recall(written)
    switch (type) {
      case 'response.queued':
        this.status = 'queued'
        return
      case 'response.in_progress':
        this.begun = true
        this.status = 'in_progress'
        return
      case 'response.output_text.delta':
        this.text += delta
        this.logprobs.push(...logprobs)
        return
      case 'basin:refinement_step':
        this.steps++
    }
  }

  cancel(): EmittedEvents {
    return this.end({ status: 'cancelled' })
  }

  present(): ResponseReply {
    return this.reply({ status: this.status })
  }

  private begin(): object[] {
    this.begun = true
    this.status = 'in_progress'
    const response = this.reply({ status: 'in_progress' }, [])
    return [{ type: 'response.in_progress', response }, ...this.output.begin(), ...this.giveAgain()]
  }

  /** What the response had said whose state this one goes on from. */
  private giveAgain(): object[] {
    const { given } = this.meta
    if (!given) return []
    this.steps = given.steps
    return this.say(given.text, given.logprobs)
  }

  private step(event: Of<'step'>): object[] {
    const number = this.steps++
    if (!this.meta.refinement || !isRecorded(number)) return []
    const { itemId } = this.meta
    const fields = stepFields(event)
    return [{ type: 'basin:refinement_step', item_id: itemId, output_index: 0, ...fields }]
  }

  private settle({ logprobs = [], text }: SettledAnswer): object[] {
    return this.say(text, logprobs.map(logprobOf))
  }

  private say(text: string, added: readonly Logprob[]): object[] {
    this.text += text
    this.logprobs.push(...added)
    return this.output.say(text, added)
  }

  private finish({ finishReason, refinement, usage }: Of<'finished'>): EmittedEvents {
    const outcome = { refinement, usage: usageOf(usage) }
    if (finishReason === 'stop') return this.end({ status: 'completed', ...outcome })
    if (finishReason === 'cancelled') return this.end({ status: 'cancelled', ...outcome })
    const reason = finishReason === 'unsatisfied' ? finishReason : ('max_output_tokens' as const)
    const details = { reason }
    return this.end({ status: 'incomplete', incomplete_details: details, ...outcome })
  }

  /**
   * OpenAI has no event for a response that was cancelled: clients get `response.incomplete` and learn it
   * from the status of the response in it.
   */
  private end(outcome: Outcome): EmittedEvents {
    this.status = outcome.status
    const name = outcome.status === 'cancelled' ? 'incomplete' : outcome.status
    const closing =
      this.begun && outcome.status !== 'failed' ? this.output.end(this.itemStatus) : []
    const final = this.reply(outcome)
    return { events: [...closing, { type: `response.${name}`, response: final }], final }
  }

  private statusEvent(name: 'created' | 'queued'): object {
    return { type: `response.${name}`, response: this.reply({ status: this.status }) }
  }

  private get itemStatus(): string {
    if (this.status === 'completed' || this.status === 'in_progress') return this.status
    return 'incomplete'
  }

  private reply(outcome: Outcome, output = this.output.present(this.itemStatus)): ResponseReply {
    const { head } = this.meta
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

/** The fields that a run which is computed again must repeat: its times, and last digits of its energies, may differ. */
function repeatedFields(event: object): string {
  const {
    arguments: given,
    delta,
    position,
    step,
    candidate,
    text,
    type,
  } = event as Record<string, unknown>
  return JSON.stringify({ type, delta, position, step, candidate, text, given })
}

export const saysTheSame = (first: object, again: object): boolean =>
  repeatedFields(first) === repeatedFields(again)

/** One answer of the library: its descent as an async iterable of steps, and what steers it. */
import { fromErrorMessage } from '../errors.js'
import type { RequestStream } from '../generation/client/engine-client.js'
import type {
  EnergySummary,
  Of,
  Refinement as Summary,
  TokenLogprob,
} from '../generation/protocol.js'
import type { TermResult } from '../refine/terms/term.js'
import { settledAnswers } from '../generation/settled-answers.js'

/** One descent step of one candidate. */
export type Step = Of<'step'>

export interface Answer {
  text: string
  /** `length`: the completion has as many tokens as it may. `unsatisfied`: no state satisfied the required terms. */
  finishReason: 'stop' | 'length' | 'unsatisfied' | 'cancelled'
  usage: { promptTokens: number; completionTokens: number }
  /** Of the latest answer. */
  energy: EnergySummary
  /** Summed over the answers. */
  steps: number
  /** Every answer ended by convergence. */
  converged: boolean
  stopReason: Summary['stop_reason']
  /** Of what was found, in the order of `energyTerms`. */
  terms?: readonly TermResult[]
  /** Of each token, if `logprobs` was asked for. */
  logprobs?: readonly TokenLogprob[]
}

const answerOf = (
  { finishReason, refinement, text, usage }: Of<'finished'>,
  logprobs: readonly TokenLogprob[],
): Answer => ({
  text,
  finishReason,
  usage,
  energy: refinement.energy,
  steps: refinement.steps,
  converged: refinement.converged,
  stopReason: refinement.stop_reason,
  ...(refinement.terms && { terms: refinement.terms }),
  ...(logprobs.length > 0 && { logprobs }),
})

/**
 * For one reader. A reader that is slower than the descent misses steps that later ones of the same candidate
 * have overtaken. Leaving the loop early cancels the request.
 */
export class Refinement implements AsyncIterable<Step> {
  private result: Answer | undefined
  private readonly steps: AsyncGenerator<Step, void>

  constructor(
    private readonly stream: RequestStream,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.steps = this.run()
  }

  [Symbol.asyncIterator](): AsyncGenerator<Step, void> {
    return this.steps
  }

  /**
   * The answer, once the descent is over: it takes the steps that nobody has read. Rejects with what the
   * request failed with, and with the reason of the signal.
   */
  async answer(): Promise<Answer> {
    while (!(await this.steps.next()).done);
    if (this.result) return this.result
    throw new Error('the loop over the steps was left before the answer had settled')
  }

  /** Lets the answer that descends now take so many more steps, or seconds. */
  extend(by: { steps?: number; seconds?: number }): void {
    this.stream.control({ type: 'extend', ...by })
  }

  /** Settles with the best so far. */
  finish(): void {
    this.stream.control({ type: 'finish' })
  }

  pause(): void {
    this.stream.control({ type: 'pause' })
  }

  resume(): void {
    this.stream.control({ type: 'resume' })
  }

  /** Fixes a position of the answer to one token; the mark of a blank opens it. */
  clamp(position: number, text: string): void {
    this.stream.control({ type: 'clamp', position, text })
  }

  private async *run(): AsyncGenerator<Step, void> {
    this.signal?.throwIfAborted()
    const abort = () => {
      this.stream.control({ type: 'cancel' })
    }
    this.signal?.addEventListener('abort', abort)
    const logprobs: TokenLogprob[] = []
    try {
      for await (const event of this.stream.events) {
        this.signal?.throwIfAborted()
        if (event.type === 'failed') throw fromErrorMessage(event.error)
        if (event.type === 'declined') throw fromErrorMessage(event.error)
        for (const answer of settledAnswers(event)) logprobs.push(...(answer.logprobs ?? []))
        if (event.type === 'finished') this.result = answerOf(event, logprobs)
        if (event.type === 'step') yield event
      }
    } finally {
      this.signal?.removeEventListener('abort', abort)
    }
  }
}

/**
 * What one completion contributes to the metrics, event by event, as its client takes them, and once
 * the replies that they make are out. It ends once: when a held answer is extended, its steps and
 * energies count again, its tokens and times do not.
 */
import type { RequestEvent, Of } from '../../generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import type { Instruments } from './instruments.js'

export type FinishReason = Of<'finished'>['finishReason'] | 'failed'

/** Events may come late, and together. `now`, and what it returns: on the clock of `performance.now()`. */
const when = ({ ago = 0 }: { ago?: number }, now: number): number => now - 1000 * ago

export class Account {
  private readonly submitted = performance.now()
  private admitted = this.submitted
  private firstCommitted: number | undefined
  private committed: number | undefined
  private ended = false

  constructor(
    private readonly to: Instruments,
    private readonly model: string,
    private readonly route: string,
  ) {}

  take(event: RequestEvent): void {
    // There may be thousands in a second, and nothing is counted of them here.
    if (event.type === 'step') return
    const now = performance.now()
    setImmediate(() => this.enter(event, now))
  }

  private enter(event: RequestEvent, now: number): void {
    const { model, to } = this
    switch (event.type) {
      case 'started':
        this.admitted = when(event, now)
        to.queueSeconds.observe({ model }, event.queueSeconds)
        to.promptTokens.inc({ model }, event.promptTokens)
        return
      case 'settled':
        for (const answer of settledAnswers(event)) {
          this.settle(answer)
          if (!this.ended) this.commit(answer, when(answer, now))
        }
        return
      case 'finished':
        if (this.ended) return
        this.end(event.finishReason, now)
        to.promptLength.observe({ model }, event.usage.promptTokens)
        to.completionLength.observe({ model }, event.usage.completionTokens)
        return
      case 'failed':
        if (!this.ended) this.end('failed', now)
    }
  }

  private settle({ energy, seconds, steps, stopReason }: SettledAnswer): void {
    const { model, to } = this
    to.answers.inc({ model, stop_reason: stopReason })
    to.answerSteps.observe({ model }, steps)
    to.answerSeconds.observe({ model }, seconds)
    to.energyFirst.observe({ model }, energy.initial)
    to.energyLast.observe({ model }, energy.final)
    to.energyDrop.observe({ model }, energy.initial - energy.final)
  }

  private commit({ tokens }: SettledAnswer, now: number): void {
    const { model, to } = this
    if (this.committed === undefined) {
      to.firstTokenSeconds.observe({ model }, (now - this.submitted) / 1000)
      to.prefillSeconds.observe({ model }, (now - this.admitted) / 1000)
      this.firstCommitted = now
    } else if (tokens > 0) {
      to.tokenSeconds.observe({ model }, (now - this.committed) / 1000 / tokens)
    }
    this.committed = now
    to.completionTokens.inc({ model }, tokens)
  }

  private end(reason: FinishReason, now: number): void {
    const { model, route, to } = this
    this.ended = true
    to.completions.inc({ model, route, finish_reason: reason })
    to.completionSeconds.observe({ model, route }, (now - this.submitted) / 1000)
    if (this.firstCommitted !== undefined) {
      to.decodeSeconds.observe({ model }, (now - this.firstCommitted) / 1000)
    }
  }
}

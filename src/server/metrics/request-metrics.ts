/**
 * What one request contributes to the metrics. Events are counted in a turn of their own, after the replies
 * that they complete have been written. The request ends once: when a held answer is extended, its steps and
 * energies count again, its tokens and times do not.
 */
import type { Of, RequestEvent } from '../../generation/protocol.js'
import { isSettled, type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import type { RequestObserver } from '../requests/request-observer.js'
import type { Instruments } from './instruments.js'

export type FinishReason = Of<'finished'>['finishReason'] | 'failed'

/** When something happened that was reported `ago` seconds later. Both times are of `performance.now()`. */
const timeOf = ({ ago = 0 }: { ago?: number }, observed: number): number => observed - 1000 * ago

/** All times are on the clock of `performance.now()`. */
export class RequestMetrics implements RequestObserver {
  private readonly submitted = performance.now()
  private admitted = this.submitted
  private firstSettled: number | undefined
  private lastSettled: number | undefined
  private ended = false

  constructor(
    private readonly instruments: Instruments,
    private readonly model: string,
    private readonly route: string,
  ) {}

  observe(event: RequestEvent): void {
    // Nothing is counted of steps, and there may be thousands in a second.
    if (event.type === 'step') return
    const now = performance.now()
    setImmediate(() => {
      this.count(event, now)
    })
  }

  private count(event: RequestEvent, now: number): void {
    const { instruments, model } = this
    if (isSettled(event)) {
      for (const answer of settledAnswers(event)) {
        this.countDescent(answer)
        if (!this.ended) this.countTokens(answer, timeOf(answer, now))
      }
      return
    }
    switch (event.type) {
      case 'started':
        this.admitted = timeOf(event, now)
        instruments.queueSeconds.observe({ model }, event.queueSeconds)
        instruments.promptTokens.inc({ model }, event.promptTokens)
        return
      case 'finished':
        if (this.ended) return
        this.end(event.finishReason, now)
        instruments.promptLength.observe({ model }, event.usage.promptTokens)
        instruments.completionLength.observe({ model }, event.usage.completionTokens)
        for (const { satisfied, type } of event.refinement.terms ?? [])
          instruments.terms.inc({ model, type, satisfied: String(satisfied) })
        return
      case 'failed':
        if (!this.ended) this.end('failed', now)
    }
  }

  private countDescent({ energy, seconds, steps, stopReason }: SettledAnswer): void {
    const { instruments, model } = this
    instruments.answers.inc({ model, stop_reason: stopReason })
    instruments.answerSteps.observe({ model }, steps)
    instruments.answerSeconds.observe({ model }, seconds)
    instruments.energyFirst.observe({ model }, energy.initial)
    instruments.energyLast.observe({ model }, energy.final)
    instruments.energyDrop.observe({ model }, energy.initial - energy.final)
  }

  private countTokens({ tokens }: SettledAnswer, settled: number): void {
    const { instruments, model } = this
    if (this.lastSettled === undefined) {
      instruments.firstTokenSeconds.observe({ model }, (settled - this.submitted) / 1000)
      instruments.prefillSeconds.observe({ model }, (settled - this.admitted) / 1000)
      this.firstSettled = settled
    } else if (tokens > 0) {
      instruments.tokenSeconds.observe({ model }, (settled - this.lastSettled) / 1000 / tokens)
    }
    this.lastSettled = settled
    instruments.completionTokens.inc({ model }, tokens)
  }

  private end(reason: FinishReason, now: number): void {
    const { instruments, model, route } = this
    this.ended = true
    instruments.completions.inc({ model, route, finish_reason: reason })
    instruments.completionSeconds.observe({ model, route }, (now - this.submitted) / 1000)
    if (this.firstSettled !== undefined) {
      instruments.decodeSeconds.observe({ model }, (now - this.firstSettled) / 1000)
    }
  }
}

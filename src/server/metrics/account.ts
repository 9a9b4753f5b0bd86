/** What one completion contributes to the metrics, event by event, as its client takes them. */
import type { JobEvent } from '../../generation/protocol.js'
import type { Of } from '../wire.js'
import type { Instruments } from './instruments.js'

export class Account {
  private readonly submitted = performance.now()
  private committed: number | undefined

  constructor(
    private readonly to: Instruments,
    private readonly model: string,
    private readonly route: string,
  ) {}

  take(event: JobEvent): void {
    const { model, to } = this
    switch (event.type) {
      case 'started':
        to.queueSeconds.observe({ model }, event.queueSeconds)
        to.promptTokens.inc({ model }, event.promptTokens)
        return
      case 'committed':
        this.commit(event)
        return
      case 'finished':
        this.end(event.finishReason)
        to.promptLength.observe({ model }, event.usage.promptTokens)
        to.completionLength.observe({ model }, event.usage.completionTokens)
        return
      case 'failed':
        this.end('failed')
        return
      case 'step':
    }
  }

  private commit({ energy, seconds, steps, stopReason, tokens }: Of<'committed'>): void {
    const { model, to } = this
    const now = performance.now()
    if (this.committed === undefined) {
      to.firstTokenSeconds.observe({ model }, (now - this.submitted) / 1000)
    } else if (tokens > 0) {
      to.tokenSeconds.observe({ model }, (now - this.committed) / 1000 / tokens)
    }
    this.committed = now
    to.completionTokens.inc({ model }, tokens)
    to.answers.inc({ model, stop_reason: stopReason })
    to.answerSteps.observe({ model }, steps)
    to.answerSeconds.observe({ model }, seconds)
    to.energyFirst.observe({ model }, energy.initial)
    to.energyLast.observe({ model }, energy.final)
    to.energyDrop.observe({ model }, energy.initial - energy.final)
  }

  private end(reason: string): void {
    const { model, route, to } = this
    to.completions.inc({ model, route, finish_reason: reason })
    to.completionSeconds.observe({ model, route }, (performance.now() - this.submitted) / 1000)
  }
}

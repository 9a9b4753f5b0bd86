/**
 * What one completion contributes to the metrics, event by event, as its client takes them. It ends
 * once: when a held answer is extended, its steps and energies count again, its tokens and times do not.
 */
import type { JobEvent } from '../../generation/protocol.js'
import type { Of } from '../wire.js'
import type { Instruments } from './instruments.js'

export type FinishReason = Of<'finished'>['finishReason'] | 'failed'

/** On the clock of `performance.now()`: events may come late, and together. */
const when = ({ ago = 0 }: { ago?: number }): number => performance.now() - 1000 * ago

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

  take(event: JobEvent): void {
    const { model, to } = this
    switch (event.type) {
      case 'started':
        this.admitted = when(event)
        to.queueSeconds.observe({ model }, event.queueSeconds)
        to.promptTokens.inc({ model }, event.promptTokens)
        return
      case 'committed':
        this.settle(event)
        if (!this.ended) this.commit(event)
        return
      case 'finished':
        if (this.ended) return
        this.end(event.finishReason)
        to.promptLength.observe({ model }, event.usage.promptTokens)
        to.completionLength.observe({ model }, event.usage.completionTokens)
        return
      case 'failed':
        if (!this.ended) this.end('failed')
        return
      case 'step':
    }
  }

  private settle({ energy, seconds, steps, stopReason }: Of<'committed'>): void {
    const { model, to } = this
    to.answers.inc({ model, stop_reason: stopReason })
    to.answerSteps.observe({ model }, steps)
    to.answerSeconds.observe({ model }, seconds)
    to.energyFirst.observe({ model }, energy.initial)
    to.energyLast.observe({ model }, energy.final)
    to.energyDrop.observe({ model }, energy.initial - energy.final)
  }

  private commit(event: Of<'committed'>): void {
    const { model, to } = this
    const { tokens } = event
    const now = when(event)
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

  private end(reason: FinishReason): void {
    const { model, route, to } = this
    const now = performance.now()
    this.ended = true
    to.completions.inc({ model, route, finish_reason: reason })
    to.completionSeconds.observe({ model, route }, (now - this.submitted) / 1000)
    if (this.firstCommitted !== undefined) {
      to.decodeSeconds.observe({ model }, (now - this.firstCommitted) / 1000)
    }
  }
}

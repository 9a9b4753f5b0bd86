/**
 * One run as spans: `generate`, and below it `queue`, `prefill` and `refinement`, one of each however many
 * answers there are. Made of the events of the run, as its client takes them.
 */
import { type Context, type Span, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api'
import type { RequestEvent, Of } from '../generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../generation/settled-answers.js'
import type { Ledger } from './runs.js'

/** Unix time, milliseconds and parts of them. */
const now = (): number => performance.timeOrigin + performance.now()

export class RunTrace implements Ledger {
  private readonly span: Span
  private readonly below: Context
  private readonly submitted = now()
  private admitted = this.submitted
  /** When its first answer began to descend. */
  private refining: number | undefined
  private answers = 0
  private ended = false

  constructor(
    private readonly tracer: Tracer,
    parent: Context,
    model: string,
    route: string,
  ) {
    const attributes = { 'gen_ai.request.model': model, 'basin.route': `/v1/${route}` }
    this.span = tracer.startSpan(
      `generate ${model}`,
      { startTime: this.submitted, attributes },
      parent,
    )
    this.below = trace.setSpan(parent, this.span)
  }

  /** What comes after its end, when a held answer is extended, is no part of it. */
  take(event: RequestEvent): void {
    if (this.ended) return
    switch (event.type) {
      case 'started':
        this.admitted = Math.min(this.submitted + event.queueSeconds * 1000, now())
        this.child('queue', this.submitted, this.admitted)
        return
      case 'settled':
        for (const answer of settledAnswers(event)) this.settle(answer)
        return
      case 'finished':
        this.finish(event)
        return
      case 'failed':
        this.span.setStatus({ code: SpanStatusCode.ERROR, message: event.error.code })
        this.end()
        return
      case 'scored':
      case 'step':
      case 'probed':
    }
  }

  private settle({ ago, seconds }: SettledAnswer): void {
    this.answers++
    this.refining ??= Math.max(this.admitted, now() - 1000 * (seconds + ago))
  }

  private finish({ finishReason, refinement, usage }: Of<'finished'>): void {
    const end = now()
    this.child('prefill', this.admitted, this.refining ?? end)
    if (this.refining !== undefined) {
      const { candidates, converged, energy, steps, stop_reason } = refinement
      this.child('refinement', this.refining, end, {
        'basin.answers': this.answers,
        'basin.steps': steps,
        'basin.candidates': candidates,
        'basin.converged': converged,
        'basin.stop_reason': stop_reason,
        'basin.energy.initial': energy.initial,
        'basin.energy.final': energy.final,
        'basin.energy.best': energy.best,
      })
    }
    this.span.setAttributes({
      'gen_ai.usage.input_tokens': usage.promptTokens,
      'gen_ai.usage.output_tokens': usage.completionTokens,
      'gen_ai.response.finish_reasons': [finishReason],
    })
    this.end()
  }

  private end(): void {
    this.ended = true
    this.span.end()
  }

  private child(
    name: string,
    startTime: number,
    endTime: number,
    attributes: Record<string, string | number | boolean> = {},
  ): void {
    this.tracer.startSpan(name, { startTime, attributes }, this.below).end(endTime)
  }
}

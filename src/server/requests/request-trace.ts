/**
 * A request to an engine as spans: `generate`, and below it one each of `queue`, `prefill` and `refinement`,
 * however many answers there are. Knows OpenTelemetry's API and no exporter. Attributes are names,
 * numbers and reasons; never a text, a key or an address.
 */
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import type { Of, RequestEvent } from '../../generation/protocol.js'
import { isSettled, settledAnswers } from '../../generation/settled-answers.js'
import type { RequestObserver } from './request-observer.js'

/** Where spans go. */
export interface Tracing {
  readonly tracer: Tracer
  /** The span of a caller that traces too (W3C Trace Context). */
  parentOf: (headers: IncomingHttpHeaders) => Context
  /** Sends what has not been sent yet. */
  close: () => Promise<void>
}

export class Traces {
  /** Of the HTTP request that is being answered. */
  private readonly httpContext = new AsyncLocalStorage<Context>()

  constructor(readonly tracing: Tracing) {}

  /** Makes spans that `work` starts, and all that it leads to, children of `context`. */
  within(context: Context, work: () => void): void {
    this.httpContext.run(context, work)
  }

  /** Of a request to `model` that came through `/v1/` and `route`. */
  request(model: string, route: string): RequestTrace {
    const parent = this.httpContext.getStore() ?? ROOT_CONTEXT
    return new RequestTrace(this.tracing.tracer, parent, model, route)
  }
}

/** Milliseconds of Unix time, with fractions. */
const now = (): number => performance.timeOrigin + performance.now()

export class RequestTrace implements RequestObserver {
  private readonly span: Span
  private readonly below: Context
  private readonly submitted = now()
  private admitted = this.submitted
  /** When its first answer began to descend. */
  private descending: number | undefined
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

  /** The spans end with the first `finished`: extensions of a held answer are not in them. */
  observe(event: RequestEvent): void {
    if (this.ended) return
    if (isSettled(event)) {
      for (const { ago, seconds } of settledAnswers(event)) {
        this.answers++
        this.descending ??= Math.max(this.admitted, now() - 1000 * (seconds + ago))
      }
      return
    }
    switch (event.type) {
      case 'started':
        this.admitted = Math.min(this.submitted + event.queueSeconds * 1000, now())
        this.child('queue', this.submitted, this.admitted)
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

  private finish({ finishReason, refinement, usage }: Of<'finished'>): void {
    const end = now()
    this.child('prefill', this.admitted, this.descending ?? end)
    if (this.descending !== undefined) {
      const { candidates, converged, energy, steps, stop_reason } = refinement
      this.child('refinement', this.descending, end, {
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

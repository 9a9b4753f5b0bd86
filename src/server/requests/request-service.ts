/**
 * The one way from the server to its engines. A submission is checked against what it may cost, what its
 * client may still use and the room in the queue; all of its requests are taken, or none. Metrics, traces
 * and quotas observe each of them, and all are cancelled when their client leaves.
 */
import { BasinError } from '../../errors.js'
import type { EngineClient, RequestStream } from '../../generation/client/engine-client.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import type { Limits } from '../limits.js'
import type { Metrics } from '../metrics/metrics.js'
import type { ModelRegistry } from '../models/model-registry.js'
import { ExtensionAllowance } from './extension-allowance.js'
import type { Quotas } from './quotas.js'
import type { RequestObserver } from './request-observer.js'
import type { Traces } from './request-trace.js'
import { cancelAll, SubmittedRequest } from './submitted-request.js'

/** A request as its route asks for it: its id and its client are given to it on submission. */
export type NewRequest = Omit<EngineRequest, 'id' | 'client'>

export interface Submission {
  client: string
  /** What follows `/v1/` in the path that was asked: a label of metrics and traces. */
  route: string
  /** Cancels the requests when it is aborted. */
  signal?: AbortSignal
}

export interface RequestServiceOptions {
  models: ModelRegistry
  limits: Limits
  quotas: Quotas
  metrics: Metrics
  /** Undefined where nothing is traced. */
  traces: Traces | undefined
}

export class RequestService {
  constructor(private readonly options: RequestServiceOptions) {}

  /**
   * Throws `out_of_range`, `rate_limited`, `limits_unavailable`, `cancelled` for a signal that is aborted,
   * and what `EngineClient.submit` throws. What is wrong with a request itself is its first event.
   */
  async submit(
    engine: EngineClient,
    requests: readonly NewRequest[],
    { client, route, signal }: Submission,
  ): Promise<SubmittedRequest[]> {
    refuseIfAborted(signal)
    this.checkCost(engine.model, requests)
    await this.options.quotas.enter(client)
    this.options.quotas.checkConcurrent(this.runningOf(client), requests.length)
    const submitted: SubmittedRequest[] = []
    try {
      // Looking up a quota may have taken a while.
      refuseIfAborted(signal)
      for (const request of requests) {
        const stream = engine.submit({ ...request, client })
        const observer = this.observerOf(engine, client, route)
        submitted.push(this.watched(stream, request, observer, submitted.length))
      }
    } catch (error) {
      cancelAll(submitted)
      throw error
    }
    signal?.addEventListener(
      'abort',
      () => {
        cancelAll(submitted)
      },
      { once: true },
    )
    return submitted
  }

  async submitOne(
    engine: EngineClient,
    request: NewRequest,
    submission: Submission,
  ): Promise<SubmittedRequest> {
    const [submitted] = await this.submit(engine, [request], submission)
    if (!submitted) throw new BasinError('internal')
    return submitted
  }

  /**
   * Starts a request that was admitted before, by an earlier process or on an engine that was lost since:
   * no quota is asked. `observer`: the one it had in this process, so that it is counted once.
   */
  resubmit(
    engine: EngineClient,
    request: Omit<EngineRequest, 'id'>,
    observer: RequestObserver,
  ): SubmittedRequest {
    return this.watched(engine.submit(request), request, observer, 0)
  }

  /** Metrics, traces and quotas of one request. */
  observerOf(engine: EngineClient, client: string, route: string): RequestObserver {
    const { metrics, quotas, traces } = this.options
    const { name } = engine.model
    const counted = metrics.request(name, route)
    const traced = traces?.request(name, route)
    return {
      observe: (event) => {
        counted.observe(event)
        traced?.observe(event)
        quotas.count(client, event)
      },
    }
  }

  private watched(
    stream: RequestStream,
    { budget }: Pick<EngineRequest, 'budget'>,
    observer: RequestObserver,
    index: number,
  ): SubmittedRequest {
    const allowance = new ExtensionAllowance(budget, this.options.limits.caps)
    return new SubmittedRequest(stream, index, allowance, observer)
  }

  private runningOf(client: string): number {
    let running = 0
    for (const engine of this.options.models.inMemory.values()) {
      running += engine.outstandingOf(client)
    }
    return running
  }

  private checkCost(model: ModelConfig, requests: readonly NewRequest[]): void {
    const { caps, steps } = this.options.limits
    const cost = requests.reduce((sum, request) => sum + costOf(request, model, caps.maxSteps), 0)
    if (cost <= steps) return
    throw new BasinError('out_of_range', {
      param: 'refinement',
      bound: `such that choices x candidates x answers x steps are at most ${steps}`,
      value: cost,
    })
  }
}

function refuseIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BasinError('cancelled')
}

/** Steps of all candidates and answers, if none ends early. */
function costOf(request: NewRequest, { answer }: ModelConfig, mostSteps: number): number {
  const given = request.given?.by === 'logprobs' ? request.given.answer.length : 0
  const tokens = (request.template?.length ?? request.maxTokens) + given
  const { candidates, maxSteps = mostSteps } = request.budget
  // An evaluation of the landscape costs as much as a step.
  const probes = request.probe ? request.probe.points * (candidates + request.probe.random) : 0
  return Math.ceil(tokens / answer.block) * candidates * maxSteps + probes
}

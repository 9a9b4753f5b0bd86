/**
 * The one way from the server to its engines: here requests are submitted, followed, accounted for and
 * cancelled. A submission is checked against what it may cost, what its client may still use and the room in
 * the queue; all of its requests are taken, or none. Metrics, traces and quotas observe each event once,
 * when its consumer takes it. When a client leaves, its requests are cancelled.
 */
import { BasinError, fromErrorMessage } from '../../errors.js'
import type { EngineClient, RequestStream } from '../../generation/client/engine-client.js'
import type { Control, EngineRequest, RequestEvent, Steer } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import type { ModelConfig } from '../../model/config.js'
import type { Budget } from '../../refine/budget.js'
import { totalSteps } from '../../refine/allocation.js'
import type { Caps } from '../../refine/presets.js'
import type { Extra } from '../../refine/stop.js'
import type { Limits } from '../limits.js'
import { placeTermModels } from './energy-terms.js'
import type { Quotas } from './quotas.js'
import type { RequestObserver } from './request-observer.js'
import type { Traces } from './request-trace.js'

/** A request as its route asks for it: its id and its client are given to it on submission. */
export type NewRequest = Omit<EngineRequest, 'id' | 'client'>

export interface Submission {
  client: string
  /** What follows `/v1/` in the path that was asked: a label of metrics and traces. */
  route: string
  /** Cancels the requests when it is aborted. */
  signal?: AbortSignal
  /** What the present answers may take, where they go on with ones that may have been extended. */
  granted?: Limited
}

export interface RequestServiceOptions {
  /** Of the models in memory: the running choices of a client are counted on all of them. */
  engines: ReadonlyMap<string, EngineClient>
  limits: Limits
  /**
   * Makes room beside the model of an engine for another one, whose energy is a term, and says where it is.
   * Absent where there are no others. Throws `model_not_found`, `no_room`.
   */
  place?: (engine: EngineClient, name: string) => Promise<string>
  /** Counts what happens to each request. */
  metrics: { request: (model: string, route: string) => RequestObserver }
  /** Undefined where nothing is limited. */
  quotas: Quotas | undefined
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
    { client, granted, route, signal }: Submission,
  ): Promise<SubmittedRequest[]> {
    refuseIfAborted(signal)
    await this.admit(engine.model, requests, client)
    const placed = await this.withPlaces(engine, requests)
    const tokenized = await withTokens(engine, placed, client)
    // The client may have left meanwhile.
    refuseIfAborted(signal)
    this.options.quotas?.checkConcurrent(this.runningOf(client), candidatesOf(requests))
    const submitted: SubmittedRequest[] = []
    try {
      for (const request of tokenized) {
        const stream = engine.submit({ ...request, client })
        const observer = this.observerOf(engine, client, route)
        submitted.push(this.watched(stream, request, observer, submitted.length, granted))
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

  /** Counts a request that needs no engine. Throws `rate_limited`, `limits_unavailable`. */
  async enter(client: string): Promise<void> {
    await this.options.quotas?.enter(client)
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
   * no quota is asked. `observer`: the one it had in this process, so that it is counted once. `granted`: what
   * its present answer may take, where it goes on with one that may have been extended.
   */
  async resubmit(
    engine: EngineClient,
    request: Omit<EngineRequest, 'id'>,
    observer: RequestObserver,
    granted: Limited = request.budget,
  ): Promise<SubmittedRequest> {
    const [placed = request] = await this.withPlaces(engine, [request])
    return this.watched(engine.submit(placed), request, observer, 0, granted)
  }

  /**
   * Checks and counts a request that may be computed by another process. Throws what `submit` throws, and what is
   * wrong with the request itself.
   */
  async admitElsewhere(engine: EngineClient, request: NewRequest, client: string): Promise<void> {
    await this.admit(engine.model, [request], client)
    const [placed = request] = await this.withPlaces(engine, [request])
    await engine.check({ ...placed, client })
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
        quotas?.count(client, event)
      },
    }
  }

  private async admit(
    model: ModelConfig,
    requests: readonly NewRequest[],
    client: string,
  ): Promise<void> {
    this.checkCost(model, requests)
    await this.options.quotas?.enter(client)
  }

  private watched(
    stream: RequestStream,
    { budget }: Pick<EngineRequest, 'budget'>,
    observer: RequestObserver,
    index: number,
    granted: Limited = budget,
  ): SubmittedRequest {
    const allowance = new ExtensionAllowance(budget, this.options.limits.caps, granted)
    return new SubmittedRequest(stream, index, allowance, observer)
  }

  /** The requests, of which each says where the models are that its terms name. */
  private async withPlaces<T extends Pick<EngineRequest, 'terms'>>(
    engine: EngineClient,
    requests: readonly T[],
  ): Promise<readonly T[]> {
    const places = new Map<string, string>()
    for (const { terms = [] } of requests)
      for (const [index, term] of terms.entries()) {
        if (term.type !== 'model' || places.has(term.model)) continue
        const param = `energy_terms[${index}].model`
        places.set(term.model, await this.placeOf(engine, term.model, param))
      }
    if (places.size === 0) return requests
    return requests.map((request) => placeTermModels(request, (name) => places.get(name) ?? ''))
  }

  private async placeOf(engine: EngineClient, name: string, param: string): Promise<string> {
    const { place } = this.options
    if (!place) {
      const reason = 'no other model is served beside this one'
      throw new BasinError('not_supported', { param, reason })
    }
    try {
      return await place(engine, name)
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      throw new BasinError(error.code, { ...error.facts, param })
    }
  }

  private runningOf(client: string): number {
    let running = 0
    for (const engine of this.options.engines.values()) {
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

/** Characters of a text that the engine's thread turns to tokens itself, in less than a millisecond. */
const SHORT_TEXT = 1024

/** Long prompts as tokens, so that the engine's thread does not wait for them. */
async function withTokens(
  engine: EngineClient,
  requests: readonly NewRequest[],
  client: string,
): Promise<readonly NewRequest[]> {
  const texts = new Set(requests.map(({ prompt }) => prompt).filter(isLongText))
  if (texts.size === 0) return requests
  const tokens = new Map<unknown, readonly number[]>()
  for (const text of texts) tokens.set(text, await engine.tokenize(text, client, 'prompt'))
  return requests.map((request) => ({
    ...request,
    prompt: tokens.get(request.prompt) ?? request.prompt,
  }))
}

const isLongText = (prompt: NewRequest['prompt']): prompt is string =>
  typeof prompt === 'string' && prompt.length > SHORT_TEXT

function refuseIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BasinError('cancelled')
}

const candidatesOf = (requests: readonly NewRequest[]): number =>
  requests.reduce((sum, { budget }) => sum + budget.candidates, 0)

/** Steps of all candidates and answers, if none ends early. */
function costOf(request: NewRequest, { answer }: ModelConfig, mostSteps: number): number {
  const given = request.given?.by === 'logprobs' ? request.given.answer.length : 0
  const tokens = (request.template?.length ?? request.maxTokens) + given
  const { candidates, maxSteps = mostSteps } = request.budget
  const steps = totalSteps({ ...request.budget, maxSteps })
  // An evaluation of the landscape costs as much as a step.
  const { probe } = request
  const lines = probe ? probe.points * (candidates + probe.random) : 0
  const plane = probe?.plane ? probe.plane.points ** 2 + maxSteps : 0
  // Another model takes a step of its own for each.
  const models = 1 + (request.terms?.filter(({ type }) => type === 'model').length ?? 0)
  return Math.ceil(tokens / answer.block) * steps * models + lines + plane
}

export type SuccessEvent = Exclude<RequestEvent, { type: 'failed' }>

/** `index`: of the request among those that were submitted with it. */
export type EventConsumer = (event: SuccessEvent, index: number) => void | Promise<void>

export class SubmittedRequest implements RequestStream {
  /** It has finished or failed; one that is held may still be extended. */
  ended = false

  constructor(
    private readonly stream: RequestStream,
    /** Among the requests that were submitted with it. */
    private readonly index: number,
    private readonly allowance: ExtensionAllowance,
    readonly observer: RequestObserver,
  ) {}

  get id(): string {
    return this.stream.id
  }

  /** For a consumer that wants a failure as an event; others use `follow`. */
  get events(): AsyncIterable<RequestEvent> {
    return this.observed()
  }

  /**
   * Gives its events to `take`, the next one only when `take` is done with the last. Resolves at the end of
   * the stream; throws what the request failed with. What `take` throws cancels the request.
   */
  async follow(take: EventConsumer): Promise<void> {
    for await (const event of this.stream.events) {
      this.observe(event)
      if (event.type === 'failed') throw fromErrorMessage(event.error)
      await take(event, this.index)
    }
  }

  /** Throws as `RequestStream.control` does, and `out_of_range` for an extension beyond the caps. */
  control(control: Control): void {
    if (control.type === 'extend') this.allowance.extend(control)
    this.stream.control(control)
  }

  steer(control: Steer): void {
    this.control(control)
  }

  /** Throws as an extension by `extra` would, and changes nothing. */
  checkExtension(extra: Extra): void {
    this.allowance.check(extra)
  }

  private observe(event: RequestEvent): void {
    this.observer.observe(event)
    this.allowance.observe(event)
    this.ended ||= event.type === 'finished' || event.type === 'failed'
  }

  private async *observed(): AsyncGenerator<RequestEvent, void> {
    for await (const event of this.stream.events) {
      this.observe(event)
      yield event
    }
  }
}

/** A request that has ended ignores it. */
export function cancelAll(requests: readonly RequestStream[]): void {
  for (const request of requests) request.control({ type: 'cancel' })
}

/** Follows all of them to their ends. The first failure cancels the others, and is thrown. */
export async function followAll(
  requests: readonly SubmittedRequest[],
  take: EventConsumer,
): Promise<void> {
  try {
    await Promise.all(requests.map((request) => request.follow(take)))
  } finally {
    cancelAll(requests)
  }
}

type Limited = Pick<Budget, 'maxSteps' | 'maxSeconds'>

const costOfAnswer = ({ maxSeconds, maxSteps }: Limited): Cost => ({
  steps: maxSteps,
  seconds: maxSeconds,
})

interface Cost {
  steps: number | undefined
  seconds: number | undefined
}

/**
 * How far the answers of one request may be extended: the operator's caps bind the sum of an answer's
 * budget and all that was added to it. It knows the request by the events that its consumer has taken.
 */
class ExtensionAllowance implements RequestObserver {
  /** What every answer begins with. A limit that the budget does not have cannot be raised. */
  private readonly initial: Cost
  private readonly most: Record<keyof Cost, number>
  /** What the answer that descends now may take. */
  private granted: Cost
  /** What the latest settled answer might have taken, and what it took. */
  private settled: { granted: Cost; took: Cost } | undefined
  /** What the held answer took: an extension counts from there. */
  private heldAt: Cost | undefined

  /** `granted`: what the present answer may take. */
  constructor(budget: Limited, caps: Caps, granted: Limited) {
    this.initial = costOfAnswer(budget)
    this.granted = costOfAnswer(granted)
    this.most = { steps: caps.maxSteps, seconds: caps.maxSeconds }
  }

  observe(event: RequestEvent): void {
    for (const { seconds, steps } of settledAnswers(event)) {
      this.settled = { granted: this.granted, took: { steps, seconds } }
      this.granted = this.initial
    }
    if (event.type === 'finished' && this.settled) {
      this.granted = this.settled.granted
      this.heldAt = this.settled.took
    }
  }

  /** Grants `extra`, or throws `out_of_range` where the sum would exceed a cap. */
  extend(extra: Extra): void {
    this.granted = this.check(extra)
    this.heldAt = undefined
  }

  /** Returns what `extend` would grant and throws as it does, but grants nothing. */
  check(extra: Extra): Cost {
    return {
      steps: this.raised('steps', extra.steps),
      seconds: this.raised('seconds', extra.seconds),
    }
  }

  private raised(param: keyof Cost, extra: number | undefined): number | undefined {
    const granted = this.granted[param]
    if (extra === undefined || granted === undefined) return granted
    const from = this.heldAt?.[param] ?? granted
    const most = this.most[param]
    if (from + extra <= most) return from + extra
    const left = Math.max(0, most - from)
    throw new BasinError('out_of_range', {
      param,
      bound: `at most ${left} (an answer may take ${most} in all)`,
      value: extra,
    })
  }
}

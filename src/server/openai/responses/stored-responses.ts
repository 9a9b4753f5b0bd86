/**
 * Responses: durable jobs in the words of OpenAI's API. They are made from requests here, and again from the
 * records that an earlier process left unfinished. Knows no transport.
 */
import type { FastifyBaseLogger } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { BasinError, fromErrorMessage } from '../../../errors.js'
import type { EngineClient } from '../../../generation/client/engine-client.js'
import type { Of } from '../../../generation/protocol.js'
import { type DurableJob, type JobSpec, NOT_RESUMABLE } from '../../../jobs/durable-job.js'
import { DurableJobs, type JobEvents } from '../../../jobs/durable-jobs.js'
import type { JobRecord, JobStore } from '../../../jobs/store.js'
import type { Requester } from '../../requests/requester.js'
import type { Limits } from '../../limits.js'
import type { ModelRegistry } from '../../models/model-registry.js'
import type { RequestObserver } from '../../requests/request-observer.js'
import type { NewRequest, RequestService } from '../../requests/request-service.js'
import type { RunningRequests, Steerable } from '../../requests/running-requests.js'
import type { SubmittedRequest } from '../../requests/request-service.js'
import type {
  InputMessage,
  ResponseReply,
  ResponseRequest,
  StateReply,
} from '../../schemas/response-schema.js'
import type { Turn } from '../chat-prompt.js'
import { itemsOf, promptOf, turnOf } from './response-input.js'
import {
  ResponseEventWriter,
  type ResponseMeta,
  saysTheSame,
  type WriterMemory,
} from './response-event-writer.js'
import {
  continuedMetaOf,
  engineRequestFrom,
  engineRequestOf,
  refuseUnsupported,
  responseMetaOf,
} from './response-request.js'
import { type StateContent, StateSeal } from './response-state.js'

/** What a record keeps of the HTTP request. Folders of data hold it under these names. */
interface KeptRequest {
  telling: ResponseMeta
  items: InputMessage[]
  /** The conversation before it. */
  history: Turn[]
}

/** A response before it is submitted. */
interface Begun extends Pick<KeptRequest, 'items' | 'history'> {
  asked: NewRequest
  meta: ResponseMeta
  /** Where it goes on. */
  state?: StateContent
}

/** Bytes of a body that brings a state, beside the state. */
const ROOM_BESIDE_STATE = 16_384

export interface StoredResponsesOptions {
  requests: RequestService
  running: RunningRequests
  limits: Limits
  models: ModelRegistry
  store: JobStore
  /** Between two checkpoints of a response in the background; 0: there are none. */
  checkpointSeconds: number
  metrics: ResponseMetrics
  /** Signs the states that clients take away: at least 32 bytes. */
  stateKey: Uint8Array
  log: FastifyBaseLogger
}

/** Counts checkpoints, and what goes on from them. */
export interface ResponseMetrics {
  checkpoint: (model: string, checkpoint: Of<'saved'>) => void
  /** `repeated`: events of steps that are computed again. */
  resumed: (model: string, repeated: number) => void
}

/** Between attempts to submit a request again for which there is no room, and how many there are. */
const RESUBMIT_INTERVAL_MS = 500
const MOST_ATTEMPTS = 1200

const keptRequestOf = (record: JobRecord): KeptRequest => record.request as KeptRequest
const replyOf = (record: JobRecord): ResponseReply => record.result as ResponseReply

/** What was asked, without who asked and how it is kept. */
function requestOf({ job }: JobRecord): NewRequest {
  const request: Partial<JobRecord['job']> & NewRequest = { ...job }
  delete request.client
  delete request.saves
  return request
}

const absent = (id: string, param = 'id'): BasinError =>
  new BasinError('not_found', { param, what: `The response ${id}` })

export class StoredResponses {
  private readonly jobs: DurableJobs
  private readonly seal: StateSeal

  constructor(private readonly options: StoredResponsesOptions) {
    const { checkpointSeconds, store } = options
    this.jobs = new DurableJobs(store, this.reportStoreError, checkpointSeconds)
    this.seal = new StateSeal(options.stateKey)
  }

  /**
   * Begins a response. It ends with the client's connection unless it is in the background. What is wrong with
   * the request is thrown.
   */
  async create(body: ResponseRequest, requester: Requester): Promise<DurableJob> {
    refuseUnsupported(body)
    const { requests } = this.options
    const { client, disconnected, engine, owner } = requester
    const begun =
      typeof body.resume_from === 'string'
        ? this.continued(body, body.resume_from, engine)
        : await this.begun(body, requester)
    const { meta, state } = begun
    const durable = meta.head.background
    const saves = durable && this.options.checkpointSeconds > 0
    const asked = { ...begun.asked, ...(saves && { saves }) }
    if (meta.head.store) await this.refuseWhileFailing()
    const request = await requests.submitOne(engine, asked, {
      client,
      route: 'responses',
      ...(!durable && { signal: disconnected }),
      ...(state && { granted: state.limits }),
    })
    const { from, ...job } = asked
    const record: JobRecord = {
      id: meta.head.id,
      owner,
      durable,
      steered: state !== undefined && state.steers.length > 0,
      ...(state && { steers: state.steers, continued: true }),
      model: meta.head.model,
      job: { ...job, client },
      request: { telling: meta, items: begun.items, history: begun.history } satisfies KeptRequest,
      result: null,
      expires: null,
    }
    const spec = this.specOf(record, engine, request.observer)
    const { store: kept } = meta.head
    const checkpoint = state && from && { ...state, next: 0, writer: undefined }
    const response = this.jobs.start(record, spec, request, { kept, checkpoint })
    this.makeSteerable(response, request)
    if (!durable) {
      disconnected.addEventListener(
        'abort',
        () => {
          response.cancel()
        },
        { once: true },
      )
    }
    // A worker answers in order: once it has answered this, it has looked at the request.
    await engine.ping()
    await this.throwRefusal(response)
    if (durable) await response.written()
    return response
  }

  /** What begins at its prompt. */
  private async begun(body: ResponseRequest, requester: Requester): Promise<Begun> {
    const { model } = requester.engine
    const items = itemsOf(body)
    const history = this.historyOf(body, requester.owner)
    const prompt = await promptOf(body, history, items.map(turnOf), requester)
    const asked = engineRequestOf(body, prompt, model, this.options.limits)
    return { asked, meta: responseMetaOf(body, asked, model.name), items, history }
  }

  /** What goes on from a state. */
  private continued(body: ResponseRequest, sealed: string, engine: EngineClient): Begun {
    const state = this.seal.open(sealed)
    const asked = engineRequestFrom(body, state, engine, this.options.limits)
    const { history, items } = state
    return { asked, meta: continuedMetaOf(body, state), items, history, state }
  }

  /** The state of one that runs, for `resume_from`. Throws `not_found`, `invalid_request`. */
  async state(id: string, owner: string): Promise<StateReply> {
    const record = this.record(id, owner)
    const job = this.jobs.under(id, owner)
    if (!job) {
      const reason = 'the response has ended; only one that runs has a state'
      throw new BasinError('invalid_request', { param: 'id', reason })
    }
    const { limits, steered, steps, thought, writer } = await job.state()
    const { history, items, telling } = keptRequestOf(record)
    const { logprobs, steps: shown, text } = writer as WriterMemory
    const state = this.seal.seal({
      model: record.model,
      head: telling.head,
      request: requestOf(record),
      items,
      history,
      given: { text, logprobs, steps: shown },
      limits,
      steps,
      steered,
      steers: record.steers ?? [],
      thought,
    })
    const { bodyBytes } = this.options.limits
    if (state.length > bodyBytes - ROOM_BESIDE_STATE) {
      const reason = `its state has ${state.length} characters, and a request that brings it back at most ${bodyBytes} bytes; fewer candidates have a smaller one`
      throw new BasinError('not_supported', { param: 'id', reason })
    }
    return { id, object: 'response.state', model: record.model, steps, state }
  }

  /** Throws `not_found`. */
  retrieve(id: string, owner: string): ResponseReply {
    const job = this.jobs.under(id, owner)
    return job ? (job.present as ResponseReply) : replyOf(this.record(id, owner))
  }

  /** Its events as JSON texts, from the one after number `after` on; -1 for all. Throws `not_found`, `damaged`. */
  events(id: string, owner: string, after: number, disconnected: AbortSignal): JobEvents {
    this.record(id, owner)
    return this.jobs.events(id, after, disconnected)
  }

  /** Throws `not_found`, and `invalid_request` for a response that its client cancels by leaving. */
  async cancel(id: string, owner: string): Promise<ResponseReply> {
    const record = this.record(id, owner)
    if (!record.durable) {
      const reason = 'only a background response can be cancelled; close the connection of this one'
      throw new BasinError('invalid_request', { param: 'id', reason })
    }
    const job = this.jobs.under(id, owner)
    job?.cancel()
    await job?.written()
    return replyOf(job?.record ?? record)
  }

  /** Throws `not_found`. */
  async delete(id: string, owner: string): Promise<void> {
    this.record(id, owner)
    await this.jobs.delete(id)
  }

  /** The messages of its request. Throws `not_found`. */
  items(id: string, owner: string): readonly InputMessage[] {
    return keptRequestOf(this.record(id, owner)).items
  }

  /**
   * Takes up what an earlier process left unfinished. A response fails if its model is not there, or if it cannot
   * be computed on or again (`DurableJob.resumable`).
   */
  resume(): void {
    const { models, requests, store } = this.options
    for (const record of store.unfinished()) {
      const engine = models.inMemory.get(record.model)
      const observer = engine && requests.observerOf(engine, record.job.client, 'responses')
      const job = this.resumeJob(record, this.specOf(record, engine, observer))
      if (!job) continue
      if (job.resumable && engine) continue
      job.fail({ code: 'engine_failed', facts: { reason: NOT_RESUMABLE } })
    }
  }

  /** Before the engines are closed: what runs in the background is left, with a last checkpoint, to the next process. */
  handOver(): Promise<void> {
    return this.jobs.handOver()
  }

  close(): Promise<void> {
    return this.jobs.close()
  }

  /**
   * Throws `storage_unavailable` where the store could not be written to last time and still cannot: who asks
   * is told at once, in place of waiting until there is room on the disk.
   */
  private async refuseWhileFailing(): Promise<void> {
    const { store } = this.options
    if (store.failing) await store.sweep(Date.now())
  }

  /** Undefined where its stored events are damaged, which the store has logged. */
  private resumeJob(record: JobRecord, spec: JobSpec): DurableJob | undefined {
    try {
      return this.jobs.resume(record, spec)
    } catch (error) {
      if (error instanceof BasinError && error.code === 'damaged') return undefined
      throw error
    }
  }

  private record(id: string, owner: string): JobRecord {
    const record = this.jobs.find(id, owner)
    if (!record) throw absent(id)
    return record
  }

  /** The conversation up to the end of the response that the request continues. */
  private historyOf({ previous_response_id: id }: ResponseRequest, owner: string): Turn[] {
    if (typeof id !== 'string') return []
    const param = 'previous_response_id'
    const record = this.jobs.find(id, owner)
    if (!record) throw absent(id, param)
    const { status } = record.expires === null ? { status: 'in_progress' } : replyOf(record)
    if (status !== 'completed' && status !== 'incomplete') {
      throw new BasinError('invalid_request', { param, reason: `the response is ${status}` })
    }
    const { history, items } = keptRequestOf(record)
    const text = replyOf(record)
      .output.flatMap(({ content }) => content.map((part) => part.text))
      .join('')
    return [...history, ...items.map(turnOf), { role: 'assistant', text }]
  }

  /** `engine`, `observer`: undefined where the model is not in memory. Then nothing can be submitted. */
  private specOf(
    record: JobRecord,
    engine: EngineClient | undefined,
    observer: RequestObserver | undefined,
  ): JobSpec {
    const { limits, log, metrics, requests } = this.options
    return {
      writer: (memory) => new ResponseEventWriter(keptRequestOf(record).telling, memory),
      submit: async (resumed) => {
        if (!engine || !observer) throw new BasinError('internal')
        const asked = { ...record.job, ...(resumed && { from: resumed.from }) }
        const request = await whenThereIsRoom(() =>
          requests.resubmit(engine, asked, observer, resumed?.limits),
        )
        const job = this.jobs.under(record.id, record.owner)
        if (job) this.makeSteerable(job, request)
        return request
      },
      same: saysTheSame,
      keep: limits.responseSeconds * 1000,
      report: this.reportStoreError,
      watch: {
        saved: (checkpoint) => {
          metrics.checkpoint(record.model, checkpoint)
        },
        resumed: (again) => {
          metrics.resumed(record.model, again.filter(isStep).length)
        },
        unfit: (response, reason) => {
          log.warn({ response, reason }, 'a checkpoint does not fit; the response begins anew')
        },
      },
    }
  }

  private readonly reportStoreError = (error: unknown): void => {
    this.options.log.error({ err: error }, 'a response could not be written to the store')
  }

  /** Its client may finish and extend it while it runs. */
  private makeSteerable(job: DurableJob, request: SubmittedRequest): void {
    const { id, owner } = job.record
    const steerable: Steerable = {
      get ended() {
        return request.ended
      },
      steer: (control) => {
        job.steer(control)
      },
      checkExtension: (extra) => {
        request.checkExtension(extra)
      },
    }
    const written = () => job.written()
    void job.done.then(this.options.running.enter(id, owner, [steerable], written))
  }

  /** A request that was refused before anything of it ran leaves no record behind. */
  private async throwRefusal(job: DurableJob): Promise<void> {
    if (!job.refused || !job.failure) return
    await this.jobs.delete(job.record.id)
    throw fromErrorMessage(job.failure)
  }
}

const isStep = (event: string): boolean =>
  (JSON.parse(event) as { type: string }).type === 'basin:refinement_step'

/** After a restart, requests that were admitted before may find a full queue, or an engine that is not ready. */
async function whenThereIsRoom(submit: () => Promise<SubmittedRequest>): Promise<SubmittedRequest> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await submit()
    } catch (error) {
      const code = error instanceof BasinError ? error.code : 'internal'
      const passes = code === 'queue_full' || code === 'engine_unavailable'
      if (!passes || attempt === MOST_ATTEMPTS) throw error
      await sleep(RESUBMIT_INTERVAL_MS)
    }
  }
}

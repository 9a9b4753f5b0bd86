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
import type { RequestService } from '../../requests/request-service.js'
import type { RunningRequests, Steerable } from '../../requests/running-requests.js'
import type { SubmittedRequest } from '../../requests/request-service.js'
import type { InputMessage, ResponseReply, ResponseRequest } from '../../schemas/response-schema.js'
import type { Turn } from '../chat-prompt.js'
import { itemsOf, promptOf, turnOf } from './response-input.js'
import { ResponseEventWriter, type ResponseMeta, saysTheSame } from './response-event-writer.js'
import { engineRequestOf, refuseUnsupported, responseMetaOf } from './response-request.js'

/** What a record keeps of the HTTP request. Folders of data hold it under these names. */
interface KeptRequest {
  telling: ResponseMeta
  items: InputMessage[]
  /** The conversation before it. */
  history: Turn[]
}

export interface StoredResponsesOptions {
  requests: RequestService
  running: RunningRequests
  limits: Limits
  models: ModelRegistry
  store: JobStore
  /** Between two checkpoints of a response in the background; 0: there are none. */
  checkpointSeconds: number
  metrics: ResponseMetrics
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

const absent = (id: string, param = 'id'): BasinError =>
  new BasinError('not_found', { param, what: `The response ${id}` })

export class StoredResponses {
  private readonly jobs: DurableJobs

  constructor(private readonly options: StoredResponsesOptions) {
    const { checkpointSeconds, store } = options
    this.jobs = new DurableJobs(store, this.reportStoreError, checkpointSeconds)
  }

  /**
   * Begins a response. It ends with the client's connection unless it is in the background. What is wrong with
   * the request is thrown.
   */
  async create(body: ResponseRequest, requester: Requester): Promise<DurableJob> {
    refuseUnsupported(body)
    const { limits, requests } = this.options
    const { client, disconnected, engine, owner } = requester
    const items = itemsOf(body)
    const history = this.historyOf(body, owner)
    const prompt = await promptOf(body, history, items.map(turnOf), requester)
    const durable = body.background ?? false
    const saves = durable && this.options.checkpointSeconds > 0
    const asked = {
      ...engineRequestOf(body, prompt, engine.model, limits),
      ...(saves && { saves }),
    }
    const meta = responseMetaOf(body, asked, engine.model.name)
    if (meta.head.store) await this.refuseWhileFailing()
    const request = await requests.submitOne(engine, asked, {
      client,
      route: 'responses',
      ...(!durable && { signal: disconnected }),
    })
    const record: JobRecord = {
      id: meta.head.id,
      owner,
      durable,
      steered: false,
      model: meta.head.model,
      job: { ...asked, client },
      request: { telling: meta, items, history } satisfies KeptRequest,
      result: null,
      expires: null,
    }
    const spec = this.specOf(record, engine, request.observer)
    const job = this.jobs.start(record, spec, request, meta.head.store)
    this.makeSteerable(job, request)
    if (!durable) {
      disconnected.addEventListener(
        'abort',
        () => {
          job.cancel()
        },
        { once: true },
      )
    }
    // A worker answers in order: once it has answered this, it has looked at the request.
    await engine.ping()
    await this.throwRefusal(job)
    if (durable) await job.written()
    return job
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
   * Takes up what an earlier process left unfinished. A response fails if it was not in the background, its model
   * is not there, or it was steered and has no checkpoint, since it cannot be computed again.
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
async function whenThereIsRoom(submit: () => SubmittedRequest): Promise<SubmittedRequest> {
  for (let attempt = 1; ; attempt++) {
    try {
      return submit()
    } catch (error) {
      const code = error instanceof BasinError ? error.code : 'internal'
      const passes = code === 'queue_full' || code === 'engine_unavailable'
      if (!passes || attempt === MOST_ATTEMPTS) throw error
      await sleep(RESUBMIT_INTERVAL_MS)
    }
  }
}

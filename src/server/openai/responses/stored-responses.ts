/**
 * Responses: durable jobs in the words of OpenAI's API. They are made from requests here, and again from the
 * records that an earlier process left unfinished. Knows no transport.
 */
import type { FastifyBaseLogger } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { BasinError, fromErrorMessage } from '../../../errors.js'
import type { EngineClient } from '../../../generation/client/engine-client.js'
import type { Of } from '../../../generation/protocol.js'
import {
  type DurableJob,
  type JobSpec,
  NOT_RESUMABLE,
  textOfEvent,
} from '../../../jobs/durable-job.js'
import { DurableJobs, type JobEvents } from '../../../jobs/durable-jobs.js'
import type { JobRunner, Outcome, RemoteControl, SharedJobs } from '../../../jobs/shared-jobs.js'
import type { JobRecord, JobStore } from '../../../jobs/store.js'
import type { Requester } from '../../requests/requester.js'
import type { Limits } from '../../limits.js'
import type { ModelRegistry } from '../../models/model-registry.js'
import type { RequestObserver } from '../../requests/request-observer.js'
import type { NewRequest, RequestService } from '../../requests/request-service.js'
import type { RunningRequests, Steerable } from '../../requests/running-requests.js'
import type { SubmittedRequest } from '../../requests/request-service.js'
import type {
  ResponseReply,
  ResponseRequest,
  StateReply,
  StoredItem,
} from '../../schemas/response-schema.js'
import type { Turn } from '../chat-prompt.js'
import { offeredTools } from '../tools.js'
import { itemsOf, promptOf, turnsOf } from './response-input.js'
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
  toolsOf,
} from './response-request.js'
import { type StateContent, StateSeal } from './response-state.js'

/** What a record keeps of the HTTP request. Folders of data hold it under these names. */
interface KeptRequest {
  telling: ResponseMeta
  items: StoredItem[]
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
  /** The processes that share the store, each of which runs what is in the background; absent: this one does. */
  shared?: SharedJobs | undefined
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

/** A response that a client has just asked for. */
export interface AskedResponse {
  /** Its events as they come. */
  events: (left: AbortSignal) => JobEvents
  /** At once for one in the background, else when it has ended. Throws what it failed with. */
  reply: () => Promise<ResponseReply>
}

/** How often in a row a response may lose its process before its next checkpoint. */
const MOST_LOSSES = 5

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
    const { checkpointSeconds, shared, store } = options
    this.jobs = new DurableJobs(store, this.reportStoreError, checkpointSeconds, shared)
    this.seal = new StateSeal(options.stateKey)
  }

  /**
   * Begins a response. It ends with the client's connection unless it is in the background. What is wrong with
   * the request is thrown.
   */
  async create(body: ResponseRequest, requester: Requester): Promise<AskedResponse> {
    refuseUnsupported(body)
    const begun =
      typeof body.resume_from === 'string'
        ? this.continued(body, body.resume_from, requester.engine)
        : await this.begun(body, requester)
    const durable = begun.meta.head.background
    const saves = durable && this.options.checkpointSeconds > 0
    const asked = { ...begun.asked, ...(saves && { saves }) }
    const { shared } = this.options
    if (durable && shared) return this.queue(shared, { ...begun, asked }, requester)
    return this.submit({ ...begun, asked }, requester)
  }

  /** Lets this process compute it. */
  private async submit(begun: Begun, requester: Requester): Promise<AskedResponse> {
    const { requests } = this.options
    const { client, disconnected, engine } = requester
    const { asked, meta, state } = begun
    const { background: durable, store: kept } = meta.head
    if (kept) await this.refuseWhileFailing()
    const request = await requests.submitOne(engine, asked, {
      client,
      route: 'responses',
      ...(!durable && { signal: disconnected }),
      ...(state && { granted: state.limits }),
    })
    const record = recordOf(begun, requester)
    const spec = this.specOf(record, engine, request.observer)
    const checkpoint = state && asked.from && { ...state, next: 0, writer: undefined }
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
    return {
      events: (left) => response.journal.follow(-1, left),
      reply: async () => {
        if (!durable) await response.done
        if (!durable && response.failure) throw fromErrorMessage(response.failure)
        return response.present as ResponseReply
      },
    }
  }

  /** Lets whichever process is free compute it. */
  private async queue(
    shared: SharedJobs,
    begun: Begun,
    requester: Requester,
  ): Promise<AskedResponse> {
    const { asked, meta, state } = begun
    await this.options.requests.admitElsewhere(requester.engine, asked, requester.client)
    const record = recordOf(begun, requester)
    const writer = new ResponseEventWriter(meta)
    const events = writer.open().events.map(textOfEvent)
    const checkpoint = state && asked.from && { ...state, next: 0, writer: undefined }
    await shared.add(record, { events, ...(checkpoint && { checkpoint }) })
    return {
      events: (left) => shared.follow(record.id, -1, left),
      reply: () => Promise.resolve(writer.present()),
    }
  }

  /** What begins at its prompt. */
  private async begun(body: ResponseRequest, requester: Requester): Promise<Begun> {
    const { engine, owner } = requester
    const offered = offeredTools(toolsOf(body), engine)
    const items = itemsOf(body, engine)
    const history = await this.historyOf(body, owner)
    const prompt = await promptOf(body, history, turnsOf(items), requester, offered?.tools)
    const asked = engineRequestOf(body, prompt, engine.model, this.options.limits, offered)
    return { asked, meta: responseMetaOf(body, asked, engine), items, history }
  }

  /** What goes on from a state. */
  private continued(body: ResponseRequest, sealed: string, engine: EngineClient): Begun {
    const state = this.seal.open(sealed)
    const asked = engineRequestFrom(body, state, engine, this.options.limits)
    const { history, items } = state
    return { asked, meta: continuedMetaOf(body, state, engine), items, history, state }
  }

  /** The state of one that runs, for `resume_from`. Throws `not_found`, `invalid_request`. */
  async state(id: string, owner: string): Promise<StateReply> {
    const record = await this.record(id, owner)
    const job = this.jobs.under(id, owner)
    const { shared } = this.options
    if (!job && shared && record.durable && record.expires === null)
      return (await shared.control(id, { type: 'state' })) as StateReply
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
  async retrieve(id: string, owner: string): Promise<ResponseReply> {
    const job = this.jobs.under(id, owner)
    if (job) return job.present as ResponseReply
    const record = await this.record(id, owner)
    return record.expires === null ? this.soFar(record) : replyOf(record)
  }

  /** Its events as JSON texts, from the one after number `after` on; -1 for all. Throws `not_found`, `damaged`. */
  async events(
    id: string,
    owner: string,
    after: number,
    disconnected: AbortSignal,
  ): Promise<JobEvents> {
    await this.record(id, owner)
    return this.jobs.events(id, after, disconnected)
  }

  /** Throws `not_found`, and `invalid_request` for a response that its client cancels by leaving. */
  async cancel(id: string, owner: string): Promise<ResponseReply> {
    const record = await this.record(id, owner)
    if (!record.durable) {
      const reason = 'only a background response can be cancelled; close the connection of this one'
      throw new BasinError('invalid_request', { param: 'id', reason })
    }
    const job = this.jobs.under(id, owner)
    job?.cancel()
    await job?.written()
    const { shared } = this.options
    if (!shared) return replyOf(job?.record ?? record)
    await this.endElsewhere(shared, id, owner)
    return replyOf(await this.record(id, owner))
  }

  /** Throws `not_found`. */
  async delete(id: string, owner: string): Promise<void> {
    const { durable } = await this.record(id, owner)
    const { shared } = this.options
    if (shared && durable && !this.jobs.under(id, owner)) await this.endElsewhere(shared, id, owner)
    await this.jobs.delete(id)
  }

  /** The items of its request. Throws `not_found`. */
  async items(id: string, owner: string): Promise<readonly StoredItem[]> {
    return keptRequestOf(await this.record(id, owner)).items
  }

  /**
   * Takes up what an earlier process left unfinished. A response fails if its model is not there, or if it cannot
   * be computed on or again (`DurableJob.resumable`).
   */
  async resume(): Promise<void> {
    const { models, requests, shared, store } = this.options
    if (shared) {
      shared.start(this.runner())
      return
    }
    for (const record of await store.unfinished()) {
      const engine = models.inMemory.get(record.model)
      const observer = engine && requests.observerOf(engine, record.job.client, 'responses')
      await this.resumeJob(record, this.specOf(record, engine, observer), (job) =>
        job.resumable && engine ? undefined : NOT_RESUMABLE,
      )
    }
  }

  /** Which models there are has changed: jobs of those that are gone are left to other processes. */
  modelsChanged(): void {
    const { models, shared } = this.options
    if (!shared) return
    shared.modelsChanged()
    const served = new Set(models.profiles.map(({ model }) => model.name))
    void this.jobs.handOver(({ model }) => !served.has(model))
  }

  /** Before the engines are closed: what runs in the background is left, with a last checkpoint, to the next process. */
  async handOver(): Promise<void> {
    await this.options.shared?.drain()
    await this.jobs.handOver()
  }

  async close(): Promise<void> {
    await this.jobs.close()
    await this.options.shared?.close()
  }

  /** What this process does for those that share the store with it. */
  private runner(): JobRunner {
    const { models } = this.options
    return {
      get models() {
        return models.profiles.map(({ model }) => model.name)
      },
      run: (id, tries) => this.run(id, tries),
      runs: (id) => this.jobs.runningJob(id) !== undefined,
      apply: (id, control, inRecord) => this.apply(id, control, inRecord),
    }
  }

  /** Runs a response that this process has taken from the queue. */
  private async run(id: string, tries: number): Promise<Outcome> {
    // Its lock ran out and nobody else took it.
    const known = this.jobs.runningJob(id)
    if (known) return outcomeOf(known)
    const { models, requests, store } = this.options
    const record = await store.get(id)
    if (record?.expires !== null) return 'ended'
    const lease = await models.lease(record.model).catch((error: unknown) => {
      if (error instanceof BasinError) return error
      throw error
    })
    if (lease instanceof BasinError) return lease.code === 'model_not_found' ? 'unserved' : 'busy'
    try {
      const observer = requests.observerOf(lease.engine, record.job.client, 'responses')
      const spec = this.specOf(record, lease.engine, observer)
      const job = await this.resumeJob(record, spec, (taken) => reasonAgainst(taken, tries))
      return job ? await outcomeOf(job) : 'ended'
    } finally {
      lease.release()
    }
  }

  /** Does what a client has asked another process for. */
  private async apply(
    id: string,
    control: RemoteControl,
    inRecord: () => void,
  ): Promise<object | undefined> {
    const job = this.jobs.runningJob(id)
    if (!job) return undefined
    const { owner } = job.record
    switch (control.type) {
      case 'cancel':
        job.cancel()
        await job.written()
        return {}
      case 'state':
        return this.state(id, owner)
      default: {
        const { running } = this.options
        if (!running.has(id)) return undefined
        inRecord()
        return { choices: await running.steerHere(id, owner, control) }
      }
    }
  }

  /** Ends a response that no connection holds, wherever it is; nothing where it has ended. */
  private async endElsewhere(shared: SharedJobs, id: string, owner: string): Promise<void> {
    const record = await this.options.store.get(id)
    if (record?.expires !== null) return
    const release = await shared.withdraw(record)
    if (!release) {
      await shared.control(id, { type: 'cancel' }).catch((error: unknown) => {
        // It has ended in the meantime.
        if (!(error instanceof BasinError) || error.code !== 'not_found') throw error
      })
      return
    }
    const latest = await this.record(id, owner)
    const spec = this.specOf(latest, undefined, undefined)
    const job = await this.jobs.resume(latest, spec, (taken) => {
      taken.cancel()
    })
    await job.done
    release()
  }

  /** What a response that runs in another process has come to. */
  private async soFar(record: JobRecord): Promise<ResponseReply> {
    const { store } = this.options
    const { id } = record
    const checkpoint = await store.checkpoint(id)
    const writer = new ResponseEventWriter(keptRequestOf(record).telling, checkpoint?.writer)
    for (const event of await store.events(id, checkpoint?.next ?? 0, Infinity))
      writer.recall(JSON.parse(event) as object)
    const latest = await store.get(id)
    return latest && latest.expires !== null ? replyOf(latest) : writer.present()
  }

  /**
   * Throws `storage_unavailable` where the store could not be written to last time and still cannot: who asks
   * is told at once, in place of waiting until there is room on the disk.
   */
  private async refuseWhileFailing(): Promise<void> {
    const { store } = this.options
    if (store.failing) await store.sweep(Date.now())
  }

  /**
   * `reasonAgainst`: why it must fail, if it must. Undefined where its stored events are damaged, which the store has
   * logged.
   */
  private async resumeJob(
    record: JobRecord,
    spec: JobSpec,
    reasonAgainst: (job: DurableJob) => string | undefined,
  ): Promise<DurableJob | undefined> {
    try {
      return await this.jobs.resume(record, spec, (job) => {
        const reason = reasonAgainst(job)
        if (reason !== undefined) job.fail({ code: 'engine_failed', facts: { reason } })
      })
    } catch (error) {
      if (error instanceof BasinError && error.code === 'damaged') return undefined
      throw error
    }
  }

  private async record(id: string, owner: string): Promise<JobRecord> {
    const record = await this.jobs.find(id, owner)
    if (!record) throw absent(id)
    return record
  }

  /** The conversation up to the end of the response that the request continues. */
  private async historyOf(
    { previous_response_id: id }: ResponseRequest,
    owner: string,
  ): Promise<Turn[]> {
    if (typeof id !== 'string') return []
    const param = 'previous_response_id'
    const record = await this.jobs.find(id, owner)
    if (!record) throw absent(id, param)
    const { status } = record.expires === null ? { status: 'in_progress' } : replyOf(record)
    if (status !== 'completed' && status !== 'incomplete') {
      throw new BasinError('invalid_request', { param, reason: `the response is ${status}` })
    }
    const { history, items } = keptRequestOf(record)
    return [...history, ...turnsOf(items), ...turnsOf(replyOf(record).output)]
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
    const { log } = this.options
    // The store has said why in a line of its own, and is asked again.
    if (error instanceof BasinError && error.code === 'storage_unavailable')
      log.warn(error.facts, 'a response waits until it can be written to the store')
    else log.error({ err: error }, 'a response could not be written to the store')
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
    this.options.shared?.steerable(id)
  }

  /** A request that was refused before anything of it ran leaves no record behind. */
  private async throwRefusal(job: DurableJob): Promise<void> {
    if (!job.refused || !job.failure) return
    await this.jobs.delete(job.record.id)
    throw fromErrorMessage(job.failure)
  }
}

/** Of a response that nobody runs yet. */
function recordOf({ asked, history, items, meta, state }: Begun, requester: Requester): JobRecord {
  const { client, owner } = requester
  const job = { ...asked, client }
  // Where it begins is in its checkpoint.
  delete job.from
  return {
    id: meta.head.id,
    owner,
    durable: meta.head.background,
    steered: state !== undefined && state.steers.length > 0,
    ...(state && { steers: state.steers, continued: true }),
    model: meta.head.model,
    job,
    request: { telling: meta, items, history } satisfies KeptRequest,
    result: null,
    expires: null,
  }
}

async function outcomeOf(job: DurableJob): Promise<Outcome> {
  await job.done
  return job.ended ? 'ended' : 'left'
}

/** Why a response must not be computed on, if it must not. */
function reasonAgainst(job: DurableJob, tries: number): string | undefined {
  if (!job.resumable) return NOT_RESUMABLE
  if (tries <= MOST_LOSSES) return undefined
  return `${MOST_LOSSES} servers in a row were lost while they ran it, before its next checkpoint`
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

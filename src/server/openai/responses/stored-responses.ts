/**
 * Responses: durable jobs in the words of OpenAI's API. Made here from requests, and again from what
 * an earlier process left behind. Knows jobs, models and admission; knows no transport.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { BasinError, fromErrorMessage } from '../../../errors.js'
import type { EngineClient, RequestStream } from '../../../generation/client/engine-client.js'
import type { DurableJob, JobSpec } from '../../../jobs/durable-job.js'
import { DurableJobs } from '../../../jobs/durable-jobs.js'
import type { JobRecord, JobStore } from '../../../jobs/store.js'
import type { Admission } from '../../requests/request-service.js'
import type { Limits } from '../../limits.js'
import { endWith } from '../../requests/request-observer.js'
import type { InputMessage, ResponseReply, ResponseRequest } from '../../schemas/response-schema.js'
import type { ModelRegistry } from '../../models/model-registry.js'
import { Steered, type RunningRequests } from '../../requests/running-requests.js'
import { itemsOf, promptOf, type Turn, turnOf } from './response-input.js'
import { ResponseEventWriter, sameGist, type ResponseMeta } from './response-event-writer.js'
import { refuseUnsupported, responseJob, tellingOf } from './response-request.js'

/** What a record keeps of a request. */
interface Kept {
  telling: ResponseMeta
  items: InputMessage[]
  /** What was said before it. */
  history: Turn[]
}

export interface Requester {
  client: string
  owner: string
}

export interface ResponseParts {
  admission: Admission
  limits: Limits
  models: ModelRegistry
  steering: RunningRequests
  store: JobStore
  log: FastifyBaseLogger
}

/** Milliseconds between attempts to make a run for which there is no room, and how many there are. */
const PATIENCE = 500
const ATTEMPTS = 1200

const keptOf = (record: JobRecord): Kept => record.request as Kept
const replyOf = (record: JobRecord): ResponseReply => record.result as ResponseReply

const absent = (id: string, param = 'id'): BasinError =>
  new BasinError('not_found', { param, what: `The response ${id}` })

export class StoredResponses {
  private readonly jobs: DurableJobs

  constructor(private readonly parts: ResponseParts) {
    this.jobs = new DurableJobs(parts.store, (error) => {
      parts.log.error({ err: error }, 'a response could not be written down')
    })
  }

  /**
   * Begins a response; what is wrong with the request is thrown. It ends with the connection unless it
   * is in the background.
   */
  async create(
    body: ResponseRequest,
    { client, owner }: Requester,
    abandoned: AbortSignal,
  ): Promise<DurableJob> {
    refuseUnsupported(body)
    const { admission, limits, models } = this.parts
    const generation = models.pick(body.model)
    const items = itemsOf(body)
    const history = this.historyOf(body, owner)
    const prompt = await promptOf(body, history, items.map(turnOf), generation)
    const asked = responseJob(body, prompt, generation, limits, client)
    const telling = tellingOf(body, asked, generation.model.name)
    const durable = body.background ?? false
    const submit = () => admission.submit(generation, [asked])
    const [run] = await (durable ? submit() : endWith(abandoned, submit))
    if (!run) throw new BasinError('internal')
    const record: JobRecord = {
      ...{ id: telling.head.id, owner, durable, steered: false, model: telling.head.model },
      ...{ job: asked, request: { telling, items, history } satisfies Kept },
      ...{ result: null, expires: null },
    }
    const spec = this.makingOf(record, generation)
    const job = this.jobs.start(record, spec, run, telling.head.store)
    this.steer(job, spec, run)
    if (!durable) abandoned.addEventListener('abort', () => job.cancel(), { once: true })
    // A worker answers in order: once this has an answer, it has looked at the job.
    await generation.tokenize('')
    await this.throwRefusal(job)
    if (durable) await job.written()
    return job
  }

  /** Throws `not_found`. */
  retrieve(id: string, { owner }: Requester): ResponseReply {
    const job = this.jobs.under(id, owner)
    return job ? (job.present as ResponseReply) : replyOf(this.record(id, owner))
  }

  /** Its events as JSON texts, after number `after`; -1 for all. Throws `not_found`. */
  events(
    id: string,
    { owner }: Requester,
    after: number,
    left: AbortSignal,
  ): AsyncGenerator<string, void> {
    this.record(id, owner)
    return this.jobs.events(id, after, left)
  }

  /** Throws `not_found`, and `invalid_request` for a response that has a connection to close. */
  async cancel(id: string, { owner }: Requester): Promise<ResponseReply> {
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

  async delete(id: string, { owner }: Requester): Promise<void> {
    this.record(id, owner)
    await this.jobs.delete(id)
  }

  items(id: string, { owner }: Requester): readonly InputMessage[] {
    return keptOf(this.record(id, owner)).items
  }

  /** What an earlier process left unfinished: gone on with, or honestly failed. */
  resume(): void {
    for (const record of this.parts.store.unfinished()) {
      const generation = this.parts.models.byName.get(record.model)
      const spec = this.makingOf(record, generation)
      const job = this.jobs.resume(record, spec)
      if (record.durable && !record.steered && generation) continue
      const reason = 'the server was restarted before it had ended'
      job.fail({ code: 'engine_failed', facts: { reason } })
    }
  }

  close(): Promise<void> {
    return this.jobs.close()
  }

  private record(id: string, owner: string): JobRecord {
    const record = this.jobs.find(id, owner)
    if (!record) throw absent(id)
    return record
  }

  /** All that was said up to the end of the response that the request goes on from. */
  private historyOf({ previous_response_id: id }: ResponseRequest, owner: string): Turn[] {
    if (typeof id !== 'string') return []
    const param = 'previous_response_id'
    const record = this.jobs.find(id, owner)
    if (!record) throw absent(id, param)
    const { status } = record.expires === null ? { status: 'in_progress' } : replyOf(record)
    if (status !== 'completed' && status !== 'incomplete') {
      throw new BasinError('invalid_request', { param, reason: `the response is ${status}` })
    }
    const { history, items } = keptOf(record)
    const text = replyOf(record)
      .output.flatMap(({ content }) => content.map((part) => part.text))
      .join('')
    return [...history, ...items.map(turnOf), { role: 'assistant', text }]
  }

  private makingOf(record: JobRecord, generation: EngineClient | undefined): JobSpec {
    const { admission, limits, log } = this.parts
    const ledger = generation && admission.ledger(generation, record.job.client, 'responses')
    return {
      writer: () => new ResponseEventWriter(keptOf(record).telling),
      submit: async () => {
        if (!generation) throw new BasinError('internal')
        const run = await whenThereIsRoom(() => generation.submit(record.job))
        return run
      },
      enter: (event) => ledger?.take(event),
      same: sameGist,
      keep: limits.responseSeconds * 1000,
      report: (error) => {
        log.error({ err: error }, 'a response could not be written down')
      },
    }
  }

  /** Its client may say `finish` and `extend` while it runs. */
  private steer(job: DurableJob, spec: JobSpec, run: RequestStream): void {
    const { limits, steering } = this.parts
    const { id, job: asked, owner } = job.record
    const steered = new Steered(run, asked.budget, limits.caps, () => {
      job.steer()
      return job.written()
    })
    const { enter } = spec
    spec.enter = (event) => {
      enter(event)
      steered.take(event)
    }
    void job.done.then(steering.enter(id, owner, [steered]))
  }

  /** A request that could not even begin leaves nothing behind. */
  private async throwRefusal(job: DurableJob): Promise<void> {
    if (!job.refused || !job.failure) return
    await this.jobs.delete(job.record.id)
    throw fromErrorMessage(job.failure)
  }
}

/** Jobs that were admitted once find a full queue, or an engine that is not ready, after a restart. */
async function whenThereIsRoom(submit: () => RequestStream): Promise<RequestStream> {
  for (let attempt = 1; ; attempt++) {
    try {
      return submit()
    } catch (error) {
      const code = error instanceof BasinError ? error.code : 'internal'
      const passes = code === 'queue_full' || code === 'engine_unavailable'
      if (!passes || attempt === ATTEMPTS) throw error
      await sleep(PATIENCE)
    }
  }
}

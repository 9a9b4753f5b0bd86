/**
 * A replica step by step: the engine core of the server (`src/generation/core/engine-core.ts`), which schedules,
 * executes and updates, over a modelled engine and its clock. Checkpoints are thoughts, as the core saves them.
 */
import { EngineCore } from '../../src/generation/core/engine-core.js'
import type { RequestEvent } from '../../src/generation/protocol.js'
import { createInterrupt } from '../../src/energy/interrupt.js'
import { PAGE_POSITIONS, pagesPerContext } from '../../src/energy/pages.js'
import type { ModelConfig } from '../../src/model/config.js'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js'
import type { SimulatedRequest, Kept } from './jobs.js'
import { ModelledEngine, type Slowdown } from './modelled-engine.js'
import type { Recording } from './recording.js'
import {
  type Ended,
  type Left,
  leftUnread,
  PREFILL_CHUNK,
  type Replica,
  type ReplicaOptions,
  type ReplicaWork,
  streamOf,
  type Waiting,
} from './replica.js'
import { boardRequest } from './searching.js'

/** A model as a replica serves it: what the real engine did, and what it needs to know of texts. */
export interface ServedModel {
  model: ModelConfig
  tokenizer: Tokenizer
  recording: Recording
}

interface TakenRequest {
  job: SimulatedRequest
  stage: Waiting['stage']
  savedAt: number
  kept: Kept | undefined
}

export class SteppedReplica implements Replica {
  readonly work: ReplicaWork = { busy: 0, steps: 0, slotSeconds: 0 }
  nextAt = Infinity
  private readonly engine: ModelledEngine
  private readonly core: EngineCore
  private readonly received: SimulatedRequest[] = []
  private readonly running = new Map<string, TakenRequest>()
  /** Reported at the end of the step that is under way, and where they could go on if that were cut off. */
  private ended: (Ended & Pick<TakenRequest, 'kept'>)[] = []

  constructor(
    private readonly served: ServedModel,
    private readonly options: ReplicaOptions,
    slowdown?: Slowdown,
  ) {
    const { slots } = options
    const { model, recording, tokenizer } = served
    const contexts = 2 * slots
    const pages = contexts * pagesPerContext(model)
    const capacity = { slots, contexts, pages, pageSize: PAGE_POSITIONS }
    this.engine = new ModelledEngine(model, tokenizer, recording, capacity, slowdown)
    const limits = { prefillChunk: PREFILL_CHUNK, holdSeconds: 0, pauseSeconds: 0 }
    const clock = () => this.engine.now
    this.core = new EngineCore(
      this.engine,
      tokenizer,
      { ...limits, interrupt: createInterrupt() },
      clock,
    )
  }

  get outstanding(): number {
    return this.received.length + this.running.size
  }

  get waiting(): number {
    let waiting = this.received.length
    for (const { stage } of this.running.values()) if (stage === 'waiting') waiting++
    return waiting
  }

  *streams(): Generator<Waiting> {
    for (const { job, stage } of this.running.values()) yield streamOf(job, stage)
    for (const job of this.received) yield streamOf(job, 'waiting')
  }

  submit(job: SimulatedRequest, now: number): void {
    this.received.push(job)
    if (this.nextAt === Infinity) this.nextAt = now
  }

  async proceed(now: number, until: number): Promise<readonly Ended[]> {
    const { core, engine } = this
    const { ended } = this
    this.ended = []
    engine.now = now
    engine.interruptAt = until
    for (const job of this.received.splice(0)) this.take(job, now)
    this.checkpoint(now)
    const worked = await core.step()
    const { events, stats } = core.report()
    for (const { rows, seconds, steps } of stats.ticks) {
      this.work.steps += rows * steps
      this.work.slotSeconds += rows * steps * seconds
    }
    this.work.busy += engine.now - now
    for (const { event, id } of events) this.receive(id, event)
    this.nextAt = worked || this.ended.length > 0 ? engine.now : Infinity
    return ended
  }

  async leave(now: number, saves: boolean): Promise<readonly Left[]> {
    const { core, engine, running } = this
    const before = new Map([...running].map(([id, { kept }]) => [id, kept]))
    this.nextAt = Infinity
    this.work.busy -= Math.max(0, engine.now - now)
    engine.now = Math.max(now, engine.now)
    // A thought says how far its request has come.
    for (const id of running.keys()) core.control(id, { type: 'save' })
    await core.step()
    for (const { event, id } of core.report().events) this.receive(id, event)
    const left = [...running].map(([id, { job, kept }]): Left => {
      const goesOn = saves && job.kind.background === true
      return { job, steps: kept?.steps ?? 0, kept: goesOn ? kept : before.get(id) }
    })
    running.clear()
    // What ends with the step that is under way has not ended yet.
    left.push(...this.ended.splice(0).map(({ job, kept, steps }) => ({ job, steps, kept })))
    return [...left, ...this.received.splice(0).map(leftUnread)]
  }

  private take(job: SimulatedRequest, now: number): void {
    const { boards } = this.served.recording
    const board = boards[job.board]
    if (!board) throw new RangeError(`board ${job.board} was not recorded`)
    const id = `${job.id}-${job.moves}`
    const request = boardRequest(id, board.template, board.seed, job.kind.budget, job.client)
    const { kept } = job
    const thought = kept?.thought
    this.core.submit(thought ? { ...request, from: { thought, repeats: false } } : request)
    this.running.set(id, {
      job,
      stage: 'waiting',
      savedAt: now,
      kept,
    })
  }

  private checkpoint(now: number): void {
    const { checkpointSeconds } = this.options
    if (checkpointSeconds === 0) return
    for (const [id, each] of this.running) {
      const due = each.stage === 'running' && now - each.savedAt >= checkpointSeconds
      if (!due || !each.job.kind.background) continue
      each.savedAt = now
      this.core.control(id, { type: 'save' })
    }
  }

  private receive(id: string, event: RequestEvent): void {
    const running = this.running.get(id)
    if (!running) return
    const { job } = running
    switch (event.type) {
      case 'started':
        running.stage = 'running'
        job.queueSeconds ??= job.dispatchedAt - job.arrivedAt + event.queueSeconds
        return
      case 'saved':
        running.kept = { steps: event.steps, thought: event.thought }
        return
      case 'failed':
        throw new Error(`request ${id} failed: ${JSON.stringify(event.error)}`)
      case 'finished': {
        this.running.delete(id)
        const right = event.text === this.served.recording.boards[job.board]?.completion
        const { candidates, restarts } = job.kind.budget
        // Without restarts a core reports the steps of the chosen candidate, and the others took as many.
        const steps = event.refinement.steps * (restarts ? 1 : candidates)
        this.ended.push({ job, right, steps, kept: running.kept })
      }
    }
  }
}

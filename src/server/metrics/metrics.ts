/** The registry of all metrics, and what the engines' reports and their workers' fates add to it. */
import { setImmediate } from 'node:timers/promises'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { BasinError, type ErrorCode } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { LossReason } from '../../generation/client/worker-supervisor.js'
import type { Of, TickStats } from '../../generation/protocol.js'
import type { FleetListener, SharedJobs, TakenHow } from '../../jobs/shared-jobs.js'
import type { StopReason } from '../../refine/budget.js'
import { restartReasons } from '../../refine/restarts.js'
import type { SocketRefusal } from '../basin/open-sockets.js'
import type { UnloadReason } from '../models/model-registry.js'
import { type Instruments, instrumentsIn } from './instruments.js'
import { type FinishReason, RequestMetrics } from './request-metrics.js'

const takenHows: TakenHow[] = ['queued', 'left', 'lost']
const jobStates = ['waiting', 'running'] as const
const states = ['running', 'waiting', 'paused', 'held'] as const

/**
 * The labels of series that exist from the start, at 0: a rate misses the first increment of a counter
 * that appears with it, and an alert cannot distinguish "never" from "not measured".
 */
const routes = [
  '/v1/completions',
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/refine',
  '/v1/score',
  '/v1/rerank',
  '/v1/embeddings',
  '/v1/landscape',
]
const moveOutcomes = ['accepted', 'rejected'] as const
const finishReasons: FinishReason[] = ['stop', 'length', 'unsatisfied', 'cancelled', 'failed']
const stopReasons: StopReason[] = [
  'converged',
  'energy_target',
  'max_steps',
  'max_seconds',
  'finished',
  'diverged',
]
const lossReasons: LossReason[] = ['died', 'stalled']
const unloadReasons: UnloadReason[] = ['asked', 'room']
const socketRefusals: SocketRefusal[] = ['sockets', 'bytes', 'seconds']
const operatorErrors: ErrorCode[] = [
  'queue_full',
  'engine_failed',
  'engine_unavailable',
  'shutting_down',
  'internal',
]

/** Gauges of prom-client whose names end like those of counters, and what they sum: Node's internals. */
const misnamed = [
  'active_handles',
  'active_handles_total',
  'active_requests',
  'active_requests_total',
  'active_resources_total',
]

/** Redis does not answer; any other error is thrown on. */
function unavailable(error: unknown): undefined {
  if (error instanceof BasinError && error.code === 'storage_unavailable') return undefined
  throw error
}

export class Metrics {
  readonly registry = new Registry()
  readonly instruments: Instruments

  constructor(version: string) {
    collectDefaultMetrics({
      register: this.registry,
      prefix: 'basin_',
      eventLoopMonitoringPrecision: 5,
    })
    for (const name of misnamed) this.registry.removeSingleMetric(`basin_nodejs_${name}`)
    this.instruments = instrumentsIn(this.registry)
    this.instruments.build.set({ version }, 1)
    for (const reason of socketRefusals) this.instruments.socketsRefused.inc({ reason }, 0)
    for (const route of routes) {
      for (const code of operatorErrors) this.instruments.errors.inc({ route, code }, 0)
    }
  }

  /** Follows a model that has come into memory. */
  followModel(model: string, engine: EngineClient): void {
    this.describe(model, engine)
    this.instruments.loads.inc({ model })
    for (const reason of unloadReasons) this.instruments.unloads.inc({ model, reason }, 0)
    engine.onTick((stats) => {
      this.countTicks(model, engine.capacity.pages, stats)
    })
    this.followWorker(model, engine)
  }

  /** Counters of a model that has left memory stay; its gauges go to 0, or away. */
  forgetModel(model: string, reason: UnloadReason): void {
    const { engine, memory, pages, pagesUsed, sinceTick, slots, slotsUsed, unloads, up } =
      this.instruments
    unloads.inc({ model, reason })
    for (const gauge of [memory, pages, pagesUsed, slots, slotsUsed]) gauge.set({ model }, 0)
    for (const gauge of [sinceTick, up]) gauge.remove({ model })
    engine.remove({ model })
    for (const state of states) this.instruments.requests.set({ model, state }, 0)
  }

  /** Observes one request to `model` that came through `/v1/` and `route`. */
  request(model: string, route: string): RequestMetrics {
    return new RequestMetrics(this.instruments, model, `/v1/${route}`)
  }

  checkpoint(model: string, { seconds, thought }: Of<'saved'>): void {
    const { checkpointBytes, checkpointSeconds, checkpoints } = this.instruments
    checkpoints.inc({ model })
    checkpointBytes.inc({ model }, thought.length)
    checkpointSeconds.observe({ model }, seconds)
  }

  /** `repeated`: steps that are shown a second time. */
  resumed(model: string, repeated: number): void {
    this.instruments.resumed.inc({ model })
    this.instruments.repeatedSteps.inc({ model }, repeated)
  }

  /** Counts background responses that this server takes, of those that it shares with others. */
  readonly fleet: FleetListener = {
    taken: (model, how) => {
      this.instruments.fleetTaken.inc({ model, how })
    },
    moved: (model, seconds) => {
      this.instruments.fleetMoveSeconds.observe({ model }, seconds)
    },
  }

  /** What is true of all servers that share background responses. */
  private async observeFleet(shared: SharedJobs): Promise<void> {
    const { fleetJobs, fleetReplica } = this.instruments
    fleetReplica.set(1)
    // What was known before Redis was lost is not shown as if it still held.
    fleetJobs.reset()
    const counts = shared.takes ? await shared.counts().catch(unavailable) : undefined
    if (!counts) {
      fleetReplica.set(0)
      return
    }
    for (const [model, count] of counts)
      for (const state of jobStates) fleetJobs.set({ model, state }, count[state])
  }

  /**
   * The exposition, with all that has happened by now (request-metrics.ts counts in a later turn). What an
   * engine that hangs would not report is measured here.
   */
  async text(engines: ReadonlyMap<string, EngineClient>, shared?: SharedJobs): Promise<string> {
    await setImmediate()
    if (shared) await this.observeFleet(shared)
    for (const [model, { lastTick, waiting }] of engines) {
      this.instruments.sinceTick.set({ model }, (performance.now() - lastTick) / 1000)
      this.instruments.requests.set({ model, state: 'waiting' }, waiting)
    }
    return this.registry.metrics()
  }

  private describe(model: string, { capacity, engine, memory }: EngineClient): void {
    const { instruments } = this
    const { backend, name, threads } = engine
    instruments.engine.set({ model, engine: name, backend, threads }, 1)
    instruments.memory.set({ model }, memory)
    instruments.slots.set({ model }, capacity.slots)
    instruments.pages.set({ model }, capacity.pages)
    instruments.pagePositions.set({ model }, capacity.pageSize)
    instruments.slotsUsed.set({ model }, 0)
    instruments.pagesUsed.set({ model }, 0)
    instruments.cacheUsage.set({ model }, 0)
    for (const state of states) instruments.requests.set({ model, state }, 0)
    this.startAtZero(model)
  }

  private followWorker(model: string, engine: EngineClient): void {
    const { restarts, up } = this.instruments
    let reason: LossReason = 'died'
    engine.onWorkerStatus((status) => {
      if (status.type === 'lost') reason = status.reason
      if (status.type === 'restored') restarts.inc({ model, reason })
      up.set({ model }, status.type === 'restored' ? 1 : 0)
    })
  }

  private startAtZero(model: string): void {
    const { instruments } = this
    instruments.up.set({ model }, 1)
    for (const reason of lossReasons) instruments.restarts.inc({ model, reason }, 0)
    for (const how of takenHows) instruments.fleetTaken.inc({ model, how }, 0)
    for (const state of jobStates) instruments.fleetJobs.set({ model, state }, 0)
    for (const stop_reason of stopReasons) instruments.answers.inc({ model, stop_reason }, 0)
    for (const reason of restartReasons) {
      instruments.descentsGivenUp.inc({ model, reason }, 0)
      instruments.stepsGivenUp.inc({ model, reason }, 0)
    }
    for (const route of routes) {
      for (const finish_reason of finishReasons) {
        instruments.completions.inc({ model, route, finish_reason }, 0)
      }
    }
    for (const counter of [
      instruments.completionTokens,
      instruments.observedTokens,
      instruments.promptTokens,
      instruments.steps,
      instruments.ticks,
      instruments.prefixQueries,
      instruments.prefixHits,
      instruments.preemptions,
      instruments.movedOut,
      instruments.checkpoints,
      instruments.checkpointBytes,
      instruments.resumed,
      instruments.repeatedSteps,
    ]) {
      counter.inc({ model }, 0)
    }
  }

  private countTicks(model: string, pages: number, stats: TickStats): void {
    const { instruments } = this
    for (const state of states) instruments.requests.set({ model, state }, stats[state])
    instruments.slotsUsed.set({ model }, stats.slotsUsed)
    instruments.pagesUsed.set({ model }, stats.pagesUsed)
    instruments.cacheUsage.set({ model }, stats.pagesUsed / pages)
    instruments.prefixQueries.inc({ model }, stats.prefixQueries)
    instruments.prefixHits.inc({ model }, stats.prefixHits)
    instruments.preemptions.inc({ model }, stats.preemptions)
    instruments.movedOut.inc({ model }, stats.movedOut)
    instruments.observedTokens.inc({ model }, stats.observedTokens)
    for (const [phase, seconds] of Object.entries(stats.seconds)) {
      instruments.engineSeconds.inc({ model, phase }, seconds)
    }
    for (const { reason, steps } of stats.restarts) {
      instruments.descentsGivenUp.inc({ model, reason })
      instruments.stepsGivenUp.inc({ model, reason }, steps)
    }
    let [batches, steps] = [0, 0]
    for (const { rows, seconds, steps: count } of stats.ticks) {
      for (let i = 0; i < count; i++) {
        instruments.tickRows.observe({ model }, rows)
        instruments.stepSeconds.observe({ model }, seconds)
      }
      batches += count
      steps += rows * count
    }
    instruments.ticks.inc({ model }, batches)
    instruments.steps.inc({ model }, steps)
    for (const outcome of moveOutcomes)
      instruments.moves.inc({ model, outcome }, stats.moves[outcome])
  }
}

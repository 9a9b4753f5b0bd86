/** Where figures come from: ticks of the engines, events of completions, replies of the server. */
import { setImmediate } from 'node:timers/promises'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { TickStats } from '../../generation/protocol.js'
import type { LossReason } from '../../generation/client/worker-supervisor.js'
import type { ErrorCode } from '../../errors.js'
import type { StopReason } from '../../refine/budget.js'
import type { UnloadReason } from '../models/model-registry.js'
import { RequestMetrics, type FinishReason } from './request-metrics.js'
import { type Instruments, instruments } from './instruments.js'

const states = ['running', 'waiting', 'paused', 'held'] as const

/**
 * Series that exist from the start, at 0: a rate sees nothing of a counter's first step if the
 * counter appears with it, and an alert cannot tell "never" from "not measured".
 */
const routes = [
  ...['completions', 'chat/completions', 'responses', 'refine', 'score', 'rerank'],
  ...['embeddings', 'landscape'],
].map((name) => `/v1/${name}`)
const finishReasons: FinishReason[] = ['stop', 'length', 'cancelled', 'failed']
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
const operatorErrors: ErrorCode[] = [
  'queue_full',
  'engine_failed',
  'engine_unavailable',
  'shutting_down',
  'internal',
]

/** Gauges of prom-client that call themselves totals, and what they add up: Node's internals. */
const misnamed = [
  'active_handles',
  'active_handles_total',
  'active_requests',
  'active_requests_total',
  'active_resources_total',
]

export class Metrics {
  readonly registry = new Registry()
  readonly to: Instruments

  constructor(version: string) {
    collectDefaultMetrics({
      register: this.registry,
      prefix: 'basin_',
      eventLoopMonitoringPrecision: 5,
    })
    for (const name of misnamed) this.registry.removeSingleMetric(`basin_nodejs_${name}`)
    this.to = instruments(this.registry)
    this.to.build.set({ version }, 1)
    for (const route of routes) {
      for (const code of operatorErrors) this.to.errors.inc({ route, code }, 0)
    }
  }

  /** Follows a model that has come into memory. */
  adopt(model: string, generation: EngineClient): void {
    this.describe(model, generation)
    this.to.loads.inc({ model })
    for (const reason of unloadReasons) this.to.unloads.inc({ model, reason }, 0)
    generation.onTick((stats) => {
      this.count(model, generation.capacity.pages, stats)
    })
    this.followFate(model, generation)
  }

  /** What a model that has left memory did is still counted; what it has is nothing. */
  forget(model: string, reason: UnloadReason): void {
    const { engine, memory, pages, pagesUsed, sinceTick, slots, slotsUsed, unloads, up } = this.to
    unloads.inc({ model, reason })
    for (const gauge of [memory, pages, pagesUsed, slots, slotsUsed]) gauge.set({ model }, 0)
    for (const gauge of [sinceTick, up]) gauge.remove({ model })
    engine.remove({ model })
    for (const state of states) this.to.requests.set({ model, state }, 0)
  }

  /** Of one completion of `model`, asked for through `/v1/` and `route`. */
  account(model: string, route: string): RequestMetrics {
    return new RequestMetrics(this.to, model, `/v1/${route}`)
  }

  /**
   * The exposition, with all that has happened by now (account.ts). What an engine that hangs would not
   * tell is taken now.
   */
  async text(models: ReadonlyMap<string, EngineClient>): Promise<string> {
    await setImmediate()
    for (const [model, { lastTick, waiting }] of models) {
      this.to.sinceTick.set({ model }, (performance.now() - lastTick) / 1000)
      this.to.requests.set({ model, state: 'waiting' }, waiting)
    }
    return this.registry.metrics()
  }

  private describe(model: string, { capacity, engine, memory }: EngineClient): void {
    const { to } = this
    const { backend, name, threads } = engine
    to.engine.set({ model, engine: name, backend, threads }, 1)
    to.memory.set({ model }, memory)
    to.slots.set({ model }, capacity.slots)
    to.pages.set({ model }, capacity.pages)
    to.pagePositions.set({ model }, capacity.pageSize)
    to.slotsUsed.set({ model }, 0)
    to.pagesUsed.set({ model }, 0)
    to.cacheUsage.set({ model }, 0)
    for (const state of states) to.requests.set({ model, state }, 0)
    this.startAtZero(model)
  }

  private followFate(model: string, generation: EngineClient): void {
    const { restarts, up } = this.to
    let reason: LossReason = 'died'
    generation.onWorkerStatus((fate) => {
      if (fate.type === 'lost') reason = fate.reason
      if (fate.type === 'restored') restarts.inc({ model, reason })
      up.set({ model }, fate.type === 'restored' ? 1 : 0)
    })
  }

  private startAtZero(model: string): void {
    const { to } = this
    to.up.set({ model }, 1)
    for (const reason of lossReasons) to.restarts.inc({ model, reason }, 0)
    for (const stop_reason of stopReasons) to.answers.inc({ model, stop_reason }, 0)
    for (const route of routes) {
      for (const finish_reason of finishReasons) {
        to.completions.inc({ model, route, finish_reason }, 0)
      }
    }
    for (const counter of [
      ...[to.completionTokens, to.observedTokens, to.promptTokens, to.steps, to.ticks],
      ...[to.prefixQueries, to.prefixHits, to.preemptions],
    ]) {
      counter.inc({ model }, 0)
    }
  }

  private count(model: string, pages: number, stats: TickStats): void {
    const { to } = this
    for (const state of states) to.requests.set({ model, state }, stats[state])
    to.slotsUsed.set({ model }, stats.slotsUsed)
    to.pagesUsed.set({ model }, stats.pagesUsed)
    to.cacheUsage.set({ model }, stats.pagesUsed / pages)
    to.prefixQueries.inc({ model }, stats.prefixQueries)
    to.prefixHits.inc({ model }, stats.prefixHits)
    to.preemptions.inc({ model }, stats.preemptions)
    to.observedTokens.inc({ model }, stats.observedTokens)
    for (const [phase, seconds] of Object.entries(stats.seconds)) {
      to.engineSeconds.inc({ model, phase }, seconds)
    }
    let [batches, steps] = [0, 0]
    for (const { rows, seconds, steps: count } of stats.ticks) {
      for (let i = 0; i < count; i++) {
        to.tickRows.observe({ model }, rows)
        to.stepSeconds.observe({ model }, seconds)
      }
      batches += count
      steps += rows * count
    }
    to.ticks.inc({ model }, batches)
    to.steps.inc({ model }, steps)
  }
}

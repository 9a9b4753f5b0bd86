/** Where figures come from: ticks of the engines, events of completions, replies of the server. */
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Generation } from '../../generation/client.js'
import type { TickStats } from '../../generation/protocol.js'
import { Account } from './account.js'
import { type Instruments, instruments } from './instruments.js'

const states = ['running', 'waiting', 'paused', 'held'] as const

export class Metrics {
  readonly registry = new Registry()
  readonly to: Instruments

  constructor(models: ReadonlyMap<string, Generation>, version: string) {
    collectDefaultMetrics({
      register: this.registry,
      prefix: 'basin_',
      eventLoopMonitoringPrecision: 5,
    })
    this.to = instruments(this.registry)
    this.to.build.set({ version }, 1)
    for (const [model, generation] of models) {
      this.describe(model, generation)
      generation.onTick((stats) => {
        this.tick(model, stats)
      })
    }
  }

  /** Of one completion of `model`, asked for through `route`. */
  account(model: string, route: string): Account {
    return new Account(this.to, model, route)
  }

  /** The exposition. Figures that only age are taken now. */
  async text(models: ReadonlyMap<string, Generation>): Promise<string> {
    for (const [model, { lastTick }] of models) {
      this.to.sinceTick.set({ model }, (performance.now() - lastTick) / 1000)
    }
    return this.registry.metrics()
  }

  private describe(model: string, { capacity, engine, memory }: Generation): void {
    const { to } = this
    const { backend, name, threads } = engine
    to.engine.set({ model, engine: name, backend, threads }, 1)
    to.memory.set({ model }, memory)
    to.slots.set({ model }, capacity.slots)
    to.pages.set({ model }, capacity.pages)
    to.pagePositions.set({ model }, capacity.pageSize)
    to.slotsUsed.set({ model }, 0)
    to.pagesUsed.set({ model }, 0)
    for (const state of states) to.requests.set({ model, state }, 0)
  }

  private tick(model: string, stats: TickStats): void {
    const { to } = this
    for (const state of states) to.requests.set({ model, state }, stats[state])
    to.slotsUsed.set({ model }, stats.slotsUsed)
    to.pagesUsed.set({ model }, stats.pagesUsed)
    to.observedTokens.inc({ model }, stats.observedTokens)
    for (const [phase, seconds] of Object.entries(stats.seconds)) {
      to.engineSeconds.inc({ model, phase }, seconds)
    }
    if (stats.rows === 0) return
    to.ticks.inc({ model })
    to.tickRows.observe({ model }, stats.rows)
    to.steps.inc({ model }, stats.rows)
    to.stepSeconds.observe({ model }, stats.seconds.descend)
  }
}

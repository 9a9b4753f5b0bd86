/**
 * Completions under way, by the ids that their clients know: whoever asked for one may say that it has
 * thought enough, or let it think longer. Knows runs and their caps; knows no transport.
 */
import { BasinError } from '../../errors.js'
import type { RequestStream } from '../../generation/client/engine-client.js'
import type { RequestEvent } from '../../generation/protocol.js'
import type { Budget } from '../../refine/budget.js'
import type { Caps } from '../../refine/presets.js'
import type { Extra } from '../../refine/stop.js'
import { ExtensionAllowance } from './extension-allowance.js'
import type { RequestObserver } from './request-observer.js'

/** One run, and how far it may be extended. Its events are entered here too. */
export class Steered implements RequestObserver {
  ended = false
  private readonly allowance: ExtensionAllowance

  constructor(
    private readonly run: RequestStream,
    budget: Budget,
    caps: Caps,
    /** Called when its course is changed, and waited for before its client is told. */
    private readonly heard: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.allowance = new ExtensionAllowance(budget, caps)
  }

  take(event: RequestEvent): void {
    this.allowance.take(event)
    this.ended ||= event.type === 'finished' || event.type === 'failed'
  }

  finish(): Promise<void> {
    this.run.control({ type: 'finish' })
    return this.heard()
  }

  /** Throws `out_of_range` where an operator's cap would be passed. */
  check(extra: Extra): void {
    this.allowance.check(extra)
  }

  extend(extra: Extra): Promise<void> {
    this.allowance.extend(extra)
    this.run.control({ type: 'extend', ...extra })
    return this.heard()
  }
}

interface Entry {
  owner: string
  choices: readonly Steered[]
}

export class RunningRequests {
  private readonly byId = new Map<string, Entry>()

  /** Until what it returns is called, `owner` and nobody else finds these runs. */
  enter(id: string, owner: string, choices: readonly Steered[]): () => void {
    this.byId.set(id, { owner, choices })
    return () => this.byId.delete(id)
  }

  /** Each choice settles with the best it has. Returns how many heard it; throws `not_found`. */
  async finish(id: string, owner: string): Promise<number> {
    const running = this.running(id, owner)
    await Promise.all(running.map((choice) => choice.finish()))
    return running.length
  }

  /** More for the present answer of each choice, or for none. Throws `not_found`, `out_of_range`. */
  async extend(id: string, owner: string, extra: Extra): Promise<number> {
    const running = this.running(id, owner)
    for (const choice of running) choice.check(extra)
    await Promise.all(running.map((choice) => choice.extend(extra)))
    return running.length
  }

  private running(id: string, owner: string): Steered[] {
    const entry = this.byId.get(id)
    const running = entry?.owner === owner ? entry.choices.filter(({ ended }) => !ended) : []
    if (running.length > 0) return running
    throw new BasinError('not_found', { param: 'id', what: `A run ${id} that is under way` })
  }
}

/** Enters each event in all of them. */
export const both = (...ledgers: readonly RequestObserver[]): RequestObserver => ({
  take: (event) => {
    for (const ledger of ledgers) ledger.take(event)
  },
})

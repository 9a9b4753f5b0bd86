/** The requests that recordings, simulations and real servers have in common: a board, and what it may cost. */
import type { EngineCore } from '../../src/generation/core/engine-core.js'
import type { EngineRequest } from '../../src/generation/protocol.js'
import type { ModelConfig } from '../../src/model/config.js'
import type { Budget } from '../../src/refine/budget.js'
import {
  type ReasoningEffort,
  type RefinementRequest,
  resolveBudget,
} from '../../src/refine/presets.js'

/** What a request says of its budget, as in the body of a completion. */
export interface Ask {
  reasoning_effort?: ReasoningEffort
  refinement?: RefinementRequest
}

/** Operators' caps do not bind here. */
const CAPS = { maxSteps: 2 ** 31 - 1, maxSeconds: 1e9, candidates: 64 }

export const budgetOf = (model: ModelConfig, ask: Ask): Budget =>
  resolveBudget(model, ask.reasoning_effort, ask.refinement, CAPS)

/** Fills in a template with the most probable tokens, as one answer. */
export const boardRequest = (
  id: string,
  template: string,
  seed: number,
  budget: Budget,
  client: string,
): EngineRequest => ({
  id,
  client,
  prompt: '',
  template,
  maxTokens: template.length,
  sampling: {
    temperature: 0,
    topP: 1,
    topK: 0,
    seed,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: {},
  },
  stop: [],
  budget,
  reportSteps: false,
  buffered: true,
  hold: false,
})

/** What became of one request that a core had to itself. */
export interface Settled {
  text: string
  /** Calls of the engine for a step, and how many rows each had. */
  ticks: { rows: number; steps: number }[]
}

/** Steps a core until its only request has ended. Throws if it fails. */
export async function settle(core: EngineCore, request: EngineRequest): Promise<Settled> {
  core.submit(request)
  const ticks: Settled['ticks'] = []
  for (;;) {
    await core.step()
    const { events, stats } = core.report()
    ticks.push(...stats.ticks.map(({ rows, steps }) => ({ rows, steps })))
    for (const { event } of events) {
      if (event.type === 'failed') throw new Error(JSON.stringify(event.error))
      if (event.type === 'finished') return { text: event.text, ticks }
    }
  }
}

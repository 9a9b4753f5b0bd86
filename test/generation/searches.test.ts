/** Whatever restarts and commits a request has, its answer is the one that it gets alone. */
import { describe, expect, it } from 'vitest'
import type { EngineRequest } from '../../src/generation/protocol.js'
import { type Budget, type Commit, restartPolicies } from '../../src/refine/budget.js'
import { uniform } from '../../src/refine/random.js'
import {
  type BenchOptions,
  budget,
  EngineBench,
  greedy,
  requestOf,
} from '../support/engine-bench.js'

const residual = { answer: { block: 4, start: 'noise' } } as const
const potential = {
  answer: { block: 3, start: 'draft' },
  energy: { kind: 'potential' },
  conditioning: 'candidate',
  landscapes: 3,
} as const

const engines: (BenchOptions & { title: string })[] = [
  { title: 'residual', model: residual },
  { title: 'potential, three landscapes', model: potential },
  { title: 'several steps in a call', model: residual, stepSeconds: 0.001 },
  { title: 'potential, answering later', model: potential, late: true },
]

type Draw = (below: number) => number

function anySearch(draw: Draw): Partial<Budget> {
  const from = <T>(choices: readonly T[]): T => choices[draw(choices.length)] as T
  const commit: Commit = {
    count: 1 + draw(2),
    draw: from(['most', 'sample']),
    after: 1 + draw(2),
    reopen: draw(2) === 0,
  }
  return {
    maxSteps: 1 + draw(40),
    candidates: 1 + draw(4),
    select: from(['min', 'max_gap']),
    noise: from([0, 0.2]),
    keep: from(['best', 'last']),
    restarts: {
      after: from([1, 2, 3, 'plateau']),
      policy: from(restartPolicies),
      alone: draw(4),
      ...(draw(3) === 0 && { most: draw(4) }),
    },
    ...(draw(2) === 0 && { commit }),
    ...(draw(2) === 0 && { energyTarget: from([0.01, 0.5, 5]) }),
    ...(draw(2) === 0 && { tolerance: 0.05 }),
  }
}

function anyRequest(id: string, draw: Draw): EngineRequest {
  return requestOf(id, {
    client: `client ${draw(3)}`,
    prompt: 'once upon'.slice(0, 1 + draw(8)),
    maxTokens: 1 + draw(12),
    ...(draw(3) === 0 && { template: '_a__b_' }),
    reportSteps: draw(2) === 0,
    sampling: { ...greedy, temperature: draw(3) === 0 ? 1 : 0, seed: draw(1000) },
    budget: budget(anySearch(draw)),
  })
}

describe.each(engines)('any mix of searches ($title)', (options) => {
  it.each([1, 2, 3])('gives each the answer that it gets alone (dice %i)', async (seed) => {
    let draws = 0
    const draw: Draw = (below) => Math.floor(uniform(seed, 98, draws++) * below)
    const requests = Array.from({ length: 12 }, (_, i) => anyRequest(`request-${i}`, draw))
    // Fewer slots than the candidates need, and pages for all.
    const capacity = { slots: 5, contexts: 8, pages: 64, pageSize: 8 }
    const together = new EngineBench({ ...options, capacity })
    for (const request of requests) {
      together.core.submit(request)
      for (let i = draw(3); i > 0; i--) await together.step()
    }
    await together.settle()
    expect(together.engine.held).toEqual({ contexts: 0, slots: 0 })
    for (const request of requests) {
      const alone = await new EngineBench({ model: options.model ?? {} }).run(request)
      expect(together.finished(request.id)).toEqual(alone.finished(request.id))
    }
  })
})

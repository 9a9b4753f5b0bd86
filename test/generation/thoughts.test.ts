/** A request that goes on from its thought on another engine gives the events of one that was never interrupted. */
import { describe, expect, it } from 'vitest'
import type { EngineRequest, Of, RequestEvent } from '../../src/generation/protocol.js'
import { settledAnswers } from '../../src/generation/settled-answers.js'
import { type Budget, restartPolicies } from '../../src/refine/budget.js'
import { uniform } from '../../src/refine/random.js'
import {
  budget,
  EngineBench,
  enginesInTime,
  greedy,
  type BenchOptions,
  requestOf,
  unbounded,
} from '../support/engine-bench.js'

/** One entry for each thing that a client sees, without the times of an engine. */
function seenOf(events: readonly RequestEvent[]): unknown[] {
  return events.flatMap((event): unknown[] => {
    switch (event.type) {
      case 'started':
      case 'saved':
        return []
      case 'settled':
        return settledAnswers(event).map((answer) => ({ ...answer, seconds: 0, ago: 0 }))
      default:
        return [event]
    }
  })
}

const thoughtsOf = (bench: EngineBench, id = 'a'): Of<'saved'>[] => bench.of(id, 'saved')

/** What was seen after each of its thoughts in an undisturbed run, which is told to save before every step. */
async function undisturbed(
  request: EngineRequest,
  options: BenchOptions,
  others: readonly EngineRequest[] = [],
) {
  const bench = new EngineBench(options)
  for (const each of [request, ...others]) bench.core.submit(each)
  for (let i = 0; bench.of(request.id, 'finished').length === 0; i++) {
    if (i > 5000) throw new Error('it does not end')
    bench.core.control(request.id, { type: 'save' })
    await bench.step()
    await bench.step()
  }
  const events = bench.events.get(request.id) ?? []
  return events.flatMap((event, i) =>
    event.type === 'saved' ? [{ thought: event.thought, rest: seenOf(events.slice(i)) }] : [],
  )
}

/** What is seen of the request from a thought on. */
async function goneOn(request: EngineRequest, thought: Uint8Array, options: BenchOptions) {
  const bench = new EngineBench(options)
  await bench.run({ ...request, from: { thought, repeats: false } })
  return seenOf(bench.events.get(request.id) ?? [])
}

/** Some of them, the first and the last too. */
const someOf = <T>(all: readonly T[], most = 12): T[] => {
  const gap = Math.max(1, Math.floor(all.length / most))
  return all.filter((_, i) => i % gap === 0 || i === all.length - 1)
}

async function checkAll(
  request: EngineRequest,
  options: BenchOptions = {},
  others: readonly EngineRequest[] = [],
) {
  const moments = await undisturbed(request, options, others)
  expect(moments.length).toBeGreaterThan(2)
  for (const { rest, thought } of someOf(moments))
    expect(await goneOn(request, thought, options)).toEqual(rest)
}

const shown = (overrides: Partial<EngineRequest>): EngineRequest =>
  requestOf('a', { reportSteps: true, ...overrides })

const target = { energyTarget: 0.01, tolerance: 1e-3 }
/** Answers of one position each. */
const ones: BenchOptions = { model: { answer: { block: 1 } } }
const kinds: [string, Partial<EngineRequest>, BenchOptions][] = [
  ['a text', { maxTokens: 6 }, {}],
  ['a drawn text', { maxTokens: 6, sampling: { ...greedy, temperature: 1, seed: 5 } }, ones],
  ['a text with log-probabilities', { maxTokens: 4, logprobs: 2 }, ones],
  ['blocks of positions', { maxTokens: 7 }, { model: { answer: { block: 3 } } }],
  ['a residual energy', { maxTokens: 4 }, { model: { energy: { kind: 'residual' } } }],
  ['a text that a stop text ends', { maxTokens: 12, stop: ['zz', 'a'] }, ones],
  [
    'candidates with noise',
    { budget: budget({ candidates: 3, noise: 0.4, maxSteps: 6 }), maxTokens: 3 },
    {},
  ],
  [
    'candidates that share steps',
    { budget: budget({ candidates: 3, noise: 0.4, allocation: 'adaptive' }), maxTokens: 3 },
    {},
  ],
  [
    'a template',
    { template: 'ab_d_f__', prompt: 'x', budget: budget({ candidates: 2, noise: 0.2 }) },
    { model: { answer: { block: 4 } } },
  ],
  [
    'steps that may be undone',
    { budget: budget({ metropolis: 0.2, noise: 0.5, maxSteps: 9 }) },
    {},
  ],
  ['a line search', { budget: budget({ lineSearch: true, maxSteps: 9 }), maxTokens: 3 }, {}],
  [
    'the last state',
    { budget: budget({ keep: 'last', candidates: 2, noise: 1, noiseSteps: 1 }), maxTokens: 3 },
    {},
  ],
  ...restartPolicies.map((policy): [string, Partial<EngineRequest>, BenchOptions] => [
    `restarts of the policy ${policy}`,
    {
      maxTokens: 4,
      budget: budget({
        ...target,
        candidates: 3,
        maxSteps: 60,
        restarts: { after: 5, policy, alone: 4 },
      }),
    },
    { model: { answer: { block: 2 } } },
  ]),
  [
    'commits that are opened again',
    {
      maxTokens: 6,
      budget: budget({
        ...target,
        candidates: 2,
        maxSteps: 40,
        restarts: { after: 'plateau', policy: 'noise', alone: 0 },
        commit: { count: 1, draw: 'sample', after: 2, reopen: true },
      }),
    },
    { model: { answer: { block: 3 } } },
  ],
  [
    'terms',
    {
      maxTokens: 4,
      budget: budget({ candidates: 2, noise: 0.3 }),
      terms: [
        { type: 'token', position: 1, tokens: ['q'], weight: 5 },
        { type: 'similar', text: 'moon', weight: 3 },
      ],
    },
    { model: { answer: { block: 2 } }, capacity: { takesPushes: true } },
  ],
]

describe('a thought', () => {
  it.each(kinds)('goes on with the same events: %s', async (_, request, options) => {
    await checkAll(shown(request), options)
  })

  it.each(enginesInTime)('is saved of an engine that answers $when', async ({ late }) => {
    await checkAll(shown({ maxTokens: 3, budget: budget({ candidates: 2, noise: 0.3 }) }), { late })
  })

  it.each([1, 2, 3])('goes on where others took its slots and pages (seed %d)', async (seed) => {
    const options = { capacity: { slots: 3, pages: 14, contexts: 6 } }
    const others = Array.from({ length: 5 }, (_, i) => {
      const length = 3 + Math.floor(20 * uniform(seed, 98, i))
      return requestOf(`other-${i}`, {
        client: `client-${i}`,
        prompt: 'm'.repeat(length),
        budget: budget({ candidates: 1 + (i % 3), maxSteps: 20 }),
      })
    })
    const search = { restarts: { after: 4, policy: 'noise', alone: 0 } } as const
    const asked = { ...target, candidates: 3, maxSteps: 40, ...search }
    await checkAll(shown({ maxTokens: 3, budget: budget(asked) }), options, others)
  })

  it('has steps, and steered ones', async () => {
    const bench = new EngineBench()
    bench.core.submit(shown({ maxTokens: 1, budget: budget({ maxSteps: 50 }) }))
    await bench.steps(4)
    bench.core.control('a', { type: 'save' })
    bench.core.control('a', { type: 'extend', steps: 5 })
    await bench.step()
    const [saved] = thoughtsOf(bench)
    expect(saved).toMatchObject({ steps: bench.of('a', 'step').length, steered: 1 })
    expect(saved?.seconds).toBeGreaterThanOrEqual(0)
  })

  it('may be saved before the request is admitted', async () => {
    const bench = new EngineBench()
    const request = shown({ maxTokens: 2 })
    bench.core.submit(request)
    bench.core.control('a', { type: 'save' })
    await bench.settle()
    const [saved] = thoughtsOf(bench)
    const again = await goneOn(request, saved?.thought ?? new Uint8Array(), {})
    expect(again).toEqual(seenOf(bench.events.get('a') ?? []))
  })

  it('is declined where a request is more than a completion', async () => {
    const bench = new EngineBench()
    bench.core.submit(shown({ hold: true }))
    bench.core.control('a', { type: 'save' })
    await bench.settle()
    expect(bench.of('a', 'declined')).toMatchObject([{ error: { code: 'not_supported' } }])
    expect(thoughtsOf(bench)).toEqual([])
  })
})

describe('the clock of a thought', () => {
  const timed: Partial<Budget> = { maxSeconds: 0.0505 }

  it('goes on from the time that the answer has had', async () => {
    const request = shown({ maxTokens: 1, budget: unbounded(timed) })
    const first = new EngineBench()
    first.core.submit(request)
    await first.steps(31)
    first.core.control('a', { type: 'save' })
    await first.step()
    const [saved] = thoughtsOf(first)
    const before = saved?.steps ?? 0
    expect(before).toBeGreaterThan(20)
    const second = new EngineBench()
    const thought = saved?.thought ?? new Uint8Array()
    await second.run({ ...request, from: { thought, repeats: false } })
    const { refinement } = second.finished('a')
    expect(refinement.stop_reason).toBe('max_seconds')
    expect(refinement.steps).toBeGreaterThan(before)
    expect(refinement.steps).toBeLessThan(54)
  })

  it('stands still while what readers have seen comes again', async () => {
    const request = shown({ maxTokens: 1, budget: unbounded(timed) })
    const first = new EngineBench()
    first.core.submit(request)
    await first.steps(10)
    first.core.control('a', { type: 'save' })
    await first.step()
    const thought = thoughtsOf(first)[0]?.thought ?? new Uint8Array()
    const second = new EngineBench()
    second.core.submit({ ...request, from: { thought, repeats: true } })
    await second.steps(500)
    expect(second.of('a', 'finished')).toEqual([])
    second.core.control('a', { type: 'repeated' })
    await second.settle()
    expect(second.finished('a').refinement.steps).toBeGreaterThan(500)
    expect(second.finished('a').refinement.stop_reason).toBe('max_seconds')
  })
})

describe('a request that saves by itself', () => {
  /** The last thought before the first thing that is seen of what changed its course, and what was seen since. */
  async function afterLastThought(bench: EngineBench) {
    await bench.settle()
    const events = bench.events.get('a') ?? []
    const at = events.findLastIndex(({ type }) => type === 'saved')
    const saved = events[at] as Of<'saved'>
    return { saved, rest: seenOf(events.slice(at)) }
  }

  it.each([
    ['an extension', { type: 'extend', steps: 7 } as const, 'max_steps'],
    ['the wish for its end', { type: 'finish' } as const, 'finished'],
  ])('does so before anything is seen of %s', async (_, control, reason) => {
    const request = shown({
      saves: true,
      maxTokens: 1,
      budget: budget({ maxSteps: 20, candidates: 2 }),
    })
    const bench = new EngineBench()
    bench.core.submit(request)
    await bench.steps(6)
    bench.core.control('a', control)
    const { rest, saved } = await afterLastThought(bench)
    expect(saved.steered).toBe(1)
    expect(bench.finished('a').refinement.stop_reason).toBe(reason)
    expect(rest.length).toBeGreaterThan(1)
    expect(await goneOn(request, saved.thought, {})).toEqual(rest)
  })

  it('does so before anything is seen of the end of its time', async () => {
    const timed = unbounded({ maxSeconds: 0.02, candidates: 2, noise: 0.3 })
    const request = shown({ saves: true, maxTokens: 2, budget: timed })
    const options = { vocabulary: 20, model: { answer: { block: 1 } } }
    const bench = await new EngineBench(options).run(request)
    const reasons = bench.settled('a').map(({ stopReason }) => stopReason)
    expect(reasons).toEqual(['max_seconds', 'max_seconds'])
    const events = bench.events.get('a') ?? []
    const moments = [...events.keys()].filter((i) => events[i]?.type === 'saved')
    expect(moments.length).toBeGreaterThanOrEqual(2)
    for (const at of moments) {
      const { thought } = events[at] as Of<'saved'>
      const [first] = await goneOn(request, thought, options)
      expect(first).toEqual(seenOf(events.slice(at))[0])
      expect(first).toMatchObject({ stopReason: 'max_seconds' })
    }
  })

  it('does not where nothing but its seed decides', async () => {
    const bench = new EngineBench()
    await bench.run(shown({ saves: true, maxTokens: 3 }))
    expect(thoughtsOf(bench)).toEqual([])
  })
})

describe('a thought that does not fit', () => {
  async function thoughtOf(request: EngineRequest): Promise<Uint8Array> {
    const bench = new EngineBench()
    bench.core.submit(request)
    await bench.steps(3)
    bench.core.control('a', { type: 'save' })
    await bench.step()
    return thoughtsOf(bench)[0]?.thought ?? new Uint8Array()
  }
  const submit = (request: EngineRequest, thought: Uint8Array, options: BenchOptions = {}) => {
    new EngineBench(options).core.submit({ ...request, from: { thought, repeats: false } })
  }
  const request = shown({ maxTokens: 2 })

  it.each([0, 9, 15, 40, 57, 200])('is refused with its byte %d changed', async (at) => {
    const thought = await thoughtOf(request)
    submit(request, thought)
    const damaged = thought.slice()
    damaged[at] = (damaged[at] as number) ^ 4
    expect(() => {
      submit(request, damaged)
    }).toThrow(expect.objectContaining({ code: 'invalid_state' }))
  })

  it('is refused where it is cut short', async () => {
    const thought = await thoughtOf(request)
    for (const length of [0, 20, 61, thought.length - 1])
      expect(() => {
        submit(request, thought.subarray(0, length))
      }).toThrow(expect.objectContaining({ code: 'invalid_state' }))
  })

  it('is refused for another request', async () => {
    const thought = await thoughtOf(request)
    for (const other of [
      shown({ maxTokens: 2, prompt: 'once' }),
      shown({ maxTokens: 2, budget: budget({ candidates: 2 }) }),
    ])
      expect(() => {
        submit(other, thought)
      }).toThrow(/another request/)
  })
})

/** Properties that hold for any mix of requests, controls and cancels. */
import { describe, expect, it } from 'vitest'
import type { Control, EngineRequest } from '../../src/generation/protocol.js'
import { restartPolicies } from '../../src/refine/budget.js'
import { uniform } from '../../src/refine/random.js'
import {
  type BenchOptions,
  alphabet,
  budget,
  greedy,
  requestOf,
  EngineBench,
  unbounded,
} from '../support/engine-bench.js'

/** Repeatable dice. */
class Dice {
  private throws = 0
  constructor(private readonly seed: number) {}

  below(limit: number): number {
    return Math.floor(uniform(this.seed, 99, this.throws++) * limit)
  }

  from<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T
  }

  word(length: number): string {
    return Array.from({ length }, () => alphabet[this.below(alphabet.length)]).join('')
  }
}

function anyRequest(id: string, dice: Dice, hold: boolean): EngineRequest {
  const template = dice.below(4) === 0
  return requestOf(id, {
    client: dice.from(['x', 'y', 'z']),
    // Many begin alike.
    prompt: 'once upon'.slice(0, dice.below(10)) + dice.word(1 + dice.below(6)),
    maxTokens: 1 + dice.below(40),
    ...(template && { template: `${dice.word(dice.below(6))}_${dice.word(dice.below(6))}_` }),
    stop: dice.below(3) === 0 ? [dice.word(1)] : [],
    reportSteps: dice.below(2) === 0,
    hold: hold && dice.below(3) === 0,
    sampling: { ...greedy, temperature: dice.from([0, 0, 1, 4]), seed: dice.below(1000) },
    budget: budget({
      maxSteps: 1 + dice.below(8),
      candidates: 1 + dice.below(3),
      select: dice.from(['min', 'max_gap']),
      noise: dice.from([0, 0.2]),
      keep: dice.from(['best', 'last']),
      ...(dice.below(2) === 0 && { tolerance: 0.05 }),
      ...(dice.below(3) === 0 && {
        restarts: {
          after: 1 + dice.below(3),
          policy: dice.from(restartPolicies),
          alone: dice.below(3),
        },
      }),
    }),
  })
}

const anyControl = (dice: Dice): Control =>
  dice.from<Control>([
    { type: 'cancel' },
    { type: 'finish' },
    { type: 'pause' },
    { type: 'resume' },
    { type: 'extend', steps: 2 },
  ])

const head = { answer: { block: 1, start: 'noise' }, energy: { kind: 'head' } } as const
const residual = { answer: { block: 4, start: 'noise' } } as const
const potential = {
  answer: { block: 3, start: 'draft' },
  energy: { kind: 'potential' },
  conditioning: 'candidate',
  landscapes: 3,
} as const
const drafted = { answer: { block: 4, start: 'draft' } } as const
const single = { answer: { block: 1, start: 'draft' } } as const

const engines: (BenchOptions & { title: string; model: NonNullable<BenchOptions['model']> })[] = [
  { title: 'head', model: head },
  { title: 'residual', model: residual },
  { title: 'potential, three landscapes', model: potential },
  { title: 'several steps in a call', model: drafted, stepSeconds: 0.001 },
  { title: 'answers in a row', model: single, stepSeconds: 0.001, multiStep: true },
  { title: 'potential, answering later', model: potential, late: true },
  { title: 'residual, answering later', model: residual, late: true },
  {
    title: 'answers in a row, answering later',
    model: single,
    stepSeconds: 0.001,
    multiStep: true,
    late: true,
  },
]
/** Pages for one of the longest, so that they run out. */
const capacity = { slots: 6, contexts: 5, pages: 16, pageSize: 4 }

describe.each(engines)('any mix of requests ($title)', (options) => {
  const plain = { model: options.model }
  it.each([true, false])(
    'gives each request the text that it gets alone (sharing prefixes: %s)',
    async (sharePrefixes) => {
      const dice = new Dice(11)
      const requests = Array.from({ length: 30 }, (_, i) => anyRequest(`request-${i}`, dice, false))
      const together = new EngineBench({ ...options, capacity, prefillChunk: 7, sharePrefixes })
      const seen = { hits: 0, movedOut: 0, preemptions: 0 }
      together.watch(({ movedOut, preemptions, prefixHits }) => {
        seen.movedOut += movedOut
        seen.hits += prefixHits
        seen.preemptions += preemptions
      })
      for (const request of requests) {
        together.core.submit(request)
        for (let i = dice.below(3); i > 0; i--) await together.step()
      }
      await together.settle()
      expect(seen.hits > 0).toBe(sharePrefixes)
      // Calls of several steps leave fewer requests at once.
      if (options.stepSeconds === undefined) {
        expect(seen.preemptions).toBeGreaterThan(0)
        expect(seen.movedOut).toBeGreaterThan(0)
      }
      for (const request of requests) {
        const alone = await new EngineBench(plain).run(request)
        expect(together.finished(request.id)).toEqual(alone.finished(request.id))
      }
    },
  )

  it.each([1, 2, 3, 4, 5])(
    'leaves no slot and no page taken, whatever is asked (dice %i)',
    async (seed) => {
      const dice = new Dice(seed)
      const bench = new EngineBench({ ...options, capacity, prefillChunk: 5, throwsAt: 3 })
      const ids: string[] = []
      for (let round = 0; round < 400; round++) {
        if (dice.below(3) === 0) {
          const id = `request-${round}`
          ids.push(id)
          bench.core.submit(anyRequest(id, dice, true))
        }
        if (dice.below(2) === 0 && ids.length > 0) control(bench, dice.from(ids), anyControl(dice))
        await bench.step()
      }
      for (const id of ids) bench.core.control(id, { type: 'resume' })
      await bench.settle()
      for (const id of ids) bench.core.control(id, { type: 'cancel' })
      expect(bench.collect()).toMatchObject({
        slotsUsed: 0,
        pagesUsed: 0,
        running: 0,
        waiting: 0,
        paused: 0,
        held: 0,
      })
      expect(bench.engine.held).toEqual({ contexts: 0, slots: 0 })
      for (const id of ids) {
        const ends = bench.of(id, 'finished').length + bench.of(id, 'failed').length
        expect(ends, id).toBeGreaterThanOrEqual(1)
      }
    },
  )
})

/** Controls of requests that are gone are part of the mix. */
function control(bench: EngineBench, id: string, asked: Control): void {
  try {
    bench.core.control(id, asked)
  } catch (error) {
    expect(error).toMatchObject({ code: 'not_held' })
  }
}

describe('an answer of many steps', () => {
  it('takes no more memory after 5,100 steps than after 100', async () => {
    const bench = new EngineBench({ model: { answer: { block: 1 }, energy: { kind: 'head' } } })
    bench.core.submit(requestOf('a', { maxTokens: 1, budget: unbounded() }))
    for (let i = 0; i < 100; i++) await bench.step()
    const early = sizeOf(bench.core)
    for (let i = 0; i < 5000; i++) await bench.step()
    expect(sizeOf(bench.core)).toBe(early)
    bench.core.control('a', { type: 'finish' })
    await bench.settle()
    expect(bench.finished('a').refinement.steps).toBe(5100)
  })
})

/** Objects and array elements reachable from a value. */
function sizeOf(root: object): number {
  const seen = new Set<object>()
  const open: unknown[] = [root]
  let size = 0
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    size++
    if (ArrayBuffer.isView(value)) size += value.byteLength
    else if (value instanceof Map) open.push(...value.keys(), ...value.values())
    else if (value instanceof Set) open.push(...value)
    else open.push(...(Object.values(value) as unknown[]))
    if (Array.isArray(value)) size += value.length
  }
  return size
}

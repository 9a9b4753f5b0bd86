/**
 * What every engine must do, whatever it runs on. The test file of each engine calls this with a function
 * that opens the engine on a checkpoint.
 */
import { describe, expect, it } from 'vitest'
import { createInterrupt, clear, raise } from '../../src/energy/interrupt.js'
import type { DescendRow, EnergyEngine, StepResult } from '../../src/energy/engine.js'
import type { Checkpoint } from '../../src/model/checkpoint.js'
import { landscapeOf, type ModelConfig, stateWidth } from '../../src/model/config.js'
import { BasinError } from '../../src/errors.js'
import { drawAmong } from '../../src/refine/sampling.js'
import { normals } from '../../src/refine/random.js'
import { golden, relativeError } from '../support/golden.js'
import { modelOf, variants } from '../support/models.js'

export type Open = (checkpoint: Checkpoint) => Promise<EnergyEngine>

const forward = ['default', 'time_embed', 'adaln', 'prob_dist_embed', 'unnormalized']
const tolerance = 1e-4

/** An engine may throw, or return a promise that rejects; callers await either. */
const attempt = async (act: () => unknown): Promise<unknown> => await act()

/** `chosen`: the variants of models to run; absent: all of them. */
export function engineContract(name: string, open: Open, chosen = variants): void {
  describe(`${name}: golden data of the published implementation`, () => {
    it.each(forward)(
      '%s: energies and logits of every step, all positions in one batch',
      async (folder) => {
        const data = golden(folder)
        const { tokens, initial_logits: initial = [], forward: wanted } = data.expected
        const engine = await open(data)
        await beginAtEveryToken(engine, tokens, initial[0])
        for (let step = 0; step < data.config.steps; step++) {
          const landscape = landscapeOf(data.config, step)
          const results = await engine.descend(
            tokens.map((_, slot) => ({ slot, landscape, noise: 0, step })),
          )
          expect(
            relativeError(
              results.map((r) => r.energy),
              wanted?.energies[step] ?? [],
            ),
          ).toBeLessThan(tolerance)
          const read = await engine.read(
            tokens.map((_, slot) => ({ slot, which: 'last', top: 'all' })),
          )
          const logits = read.flatMap((r) => [...r.logits])
          expect(relativeError(logits, wanted?.logits[step]?.flat() ?? [])).toBeLessThan(tolerance)
        }
        await engine.close()
      },
    )

    it.each(forward)('%s: the greedy text, through the cache', async (folder) => {
      const data = golden(folder, 'zeros')
      const engine = await open(data)
      const length = data.expected.tokens.length + 8
      const text: number[] = []
      await engine.observe([
        { contextId: 0, tokens: data.expected.tokens, pages: pagesFor(0, length) },
      ])
      while (text.length < 8) {
        await engine.begin([{ slot: 0, contextId: 0, seed: 0, candidate: 0 }])
        for (let step = 0; step < data.config.steps; step++)
          await engine.descend([
            { slot: 0, landscape: landscapeOf(data.config, step), noise: 0, step },
          ])
        const token = (await engine.read([{ slot: 0, which: 'last', top: 1 }]))[0]
          ?.tokens[0] as number
        text.push(token)
        await engine.observe([{ contextId: 0, tokens: [token], pages: pagesFor(0, length) }])
      }
      expect(text).toEqual(data.expected.greedy_from_zeros)
      await engine.close()
    })

    it('advanced_accept_lower: a step is kept only where it lowers the energy', async () => {
      const data = golden('advanced_accept_lower')
      const { tokens, initial_logits: initial = [], advanced, hparams } = data.expected
      const engine = await open(data)
      await beginAtEveryToken(engine, tokens, initial[0])
      for (let step = 0; step < hparams.infer_ebt_num_steps; step++) {
        const results = await engine.descend(
          tokens.map((_, slot) => ({ slot, landscape: 0, noise: 0, step, acceptLower: true })),
        )
        expect(
          relativeError(
            results.map((r) => r.energy),
            advanced?.energies[step]?.[0] ?? [],
          ),
        ).toBeLessThan(tolerance)
      }
      const final = await engine.energy(tokens.map((_, slot) => ({ slot, landscape: 0 })))
      expect(
        relativeError(
          final.map((r) => r.energy),
          advanced?.energies.at(-1)?.[0] ?? [],
        ),
      ).toBeLessThan(tolerance)
      const read = await engine.read(tokens.map((_, slot) => ({ slot, which: 'last', top: 'all' })))
      const logits = read.flatMap((r) => [...r.logits])
      expect(relativeError(logits, advanced?.final_logits.flat() ?? [])).toBeLessThan(tolerance)
      await engine.close()
    })
  })

  describe.each(chosen)(`${name}: $label`, ({ label }) => {
    const context = [5, 3, 8, 1, 1, 2]

    it('does not depend on what else is in the batch', async () => {
      const engine = await open(modelOf(label))
      const alone = await open(modelOf(label))
      const { block } = engine.model.answer
      for (let row = 0; row < 4; row++) {
        const tokens = context.slice(0, 1 + row)
        const clamped = row % 2 === 1 ? clampedAt(block, 0, 4) : undefined
        const begin = { contextId: row, seed: row, candidate: row, ...(clamped && { clamped }) }
        await engine.observe([{ contextId: row, tokens, pages: pagesFor(row, 8) }])
        await engine.begin([{ slot: row, ...begin }])
        await alone.observe([{ contextId: row, tokens, pages: pagesFor(row, 8) }])
        await alone.begin([{ slot: row, ...begin }])
      }
      for (let step = 0; step < 3; step++) {
        const rowAt = (slot: number) => ({
          slot,
          landscape: landscapeOf(engine.model, step),
          noise: 0.01,
          step,
        })
        const together = await engine.descend([0, 1, 2, 3].map(rowAt))
        for (let row = 0; row < 4; row++) {
          const single = (await alone.descend([rowAt(row)]))[0]
          expect(together[row]?.energy).toBeCloseTo(single?.energy as number, 4)
          expect(together[row]?.gradientNorm).toBeCloseTo(single?.gradientNorm as number, 4)
        }
      }
      const read = async (e: EnergyEngine, slot: number) => [
        ...((await e.read([{ slot, which: 'last', top: 'all' }]))[0]?.logits ?? []),
      ]
      for (let row = 0; row < 4; row++)
        expect(relativeError(await read(engine, row), await read(alone, row))).toBeLessThan(
          tolerance,
        )
      await engine.close()
      await alone.close()
    })

    it('gives the same steps in one call as in several, and ends a call after a round when interrupted', async () => {
      const [engine, other] = [await open(modelOf(label)), await open(modelOf(label))]
      for (const each of [engine, other]) {
        await each.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
        await each.begin([0, 1].map((i) => ({ slot: i, contextId: 0, seed: 1, candidate: i })))
      }
      const round = (step: number) =>
        [0, 1].map((slot) => ({
          slot,
          step,
          noise: 0.01,
          landscape: landscapeOf(engine.model, step),
        }))
      const interrupt = createInterrupt()
      const together = await engine.descend([...round(0), ...round(1), ...round(2)], interrupt)
      const apart: StepResult[] = []
      for (const step of [0, 1, 2]) apart.push(...(await other.descend(round(step))))
      expect(together).toEqual(apart)
      raise(interrupt)
      expect(await engine.descend([...round(3), ...round(4)], interrupt)).toEqual(
        await other.descend(round(3)),
      )
      clear(interrupt)
      expect(await engine.descend([...round(4), ...round(5)], interrupt)).toHaveLength(4)
      await engine.close()
      await other.close()
    })

    it('observes the same context in chunks as at once', async () => {
      const engine = await open(modelOf(label))
      await engine.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
      await engine.observe([{ contextId: 1, tokens: context.slice(0, 1), pages: pagesFor(1, 8) }])
      await engine.observe([{ contextId: 1, tokens: context.slice(1, 4), pages: pagesFor(1, 8) }])
      await engine.observe([{ contextId: 1, tokens: context.slice(4), pages: pagesFor(1, 8) }])
      await engine.begin([0, 1].map((i) => ({ slot: i, contextId: i, seed: 1, candidate: 0 })))
      const [a, b] = await engine.descend(
        [0, 1].map((slot) => ({ slot, landscape: 0, noise: 0, step: 0 })),
      )
      expect(a?.energy).toBeCloseTo(b?.energy as number, 4)
      await engine.close()
    })

    it('continues answers whose context lost its pages and is observed again on others', async () => {
      const engine = await open(modelOf(label))
      const elsewhere = pagesFor(2, 64)
      const steps = async (slot: number, from: number, to: number) => {
        const energies: (number | undefined)[] = []
        for (let step = from; step < to; step++) {
          const landscape = landscapeOf(engine.model, step)
          const [result] = await engine.descend([{ slot, landscape, noise: 0, step }])
          energies.push(result?.energy)
        }
        return energies
      }
      for (const contextId of [0, 1]) {
        await engine.observe([{ contextId, tokens: context, pages: pagesFor(contextId, 8) }])
        await engine.begin([{ slot: contextId, contextId, seed: 5, candidate: 0 }])
      }
      const undisturbed = await steps(0, 0, 4)
      const first = await steps(1, 0, 2)
      await engine.observe([{ contextId: 3, tokens: [1, 1, 2, 1], pages: pagesFor(1, 8) }])
      await engine.observe([{ contextId: 1, from: 0, tokens: context, pages: elsewhere }])
      expect([...first, ...(await steps(1, 2, 4))]).toEqual(undisturbed)
      await engine.close()
    })

    it('truncates a context to an earlier length and continues from there', async () => {
      const engine = await open(modelOf(label))
      const [pages, rest] = [pagesFor(0, 8), context.slice(3)]
      const energyOf = async (contextId: number) => {
        await engine.begin([{ slot: contextId, contextId, seed: 5, candidate: 0 }])
        const row = { slot: contextId, landscape: 0, noise: 0, step: 0 }
        return (await engine.descend([row]))[0]?.energy
      }
      await engine.observe([{ contextId: 0, tokens: context, pages }])
      const whole = await energyOf(0)
      await engine.observe([{ contextId: 0, from: 3, tokens: rest.map(() => 0), pages }])
      expect(await energyOf(0)).not.toBeCloseTo(whole as number, 6)
      await engine.observe([{ contextId: 0, from: 3, tokens: rest, pages }])
      expect(await energyOf(0)).toBeCloseTo(whole as number, 4)
      engine.release(0)
      await engine.observe([{ contextId: 0, tokens: rest.concat(rest), pages }])
      expect(await energyOf(0)).not.toBeCloseTo(whole as number, 6)
      await engine.close()
    })

    it('shares pages between contexts that begin alike, where the engine can', async () => {
      const engine = await open(modelOf(label))
      const { sharesPages = false, pageSize } = engine.capacity
      const beginning = Array.from({ length: pageSize }, (_, i) => (i * 3) % 7)
      const tokens = [...beginning, ...context]
      const [mine, theirs] = [pagesFor(0, 64), pagesFor(1, 64)]
      const shared = [mine[0] as number, ...theirs.slice(1)]
      const follow = { contextId: 1, from: pageSize, tokens: context, pages: shared }
      if (!sharesPages) {
        await engine.observe([{ contextId: 0, tokens, pages: mine }])
        await expect(attempt(() => engine.observe([follow]))).rejects.toThrow(BasinError)
        return
      }
      await expect(attempt(() => engine.observe([follow]))).rejects.toThrow(BasinError)
      await engine.observe([{ contextId: 0, tokens, pages: mine }, follow])
      await engine.begin([0, 1].map((i) => ({ slot: i, contextId: i, seed: 5, candidate: 0 })))
      const [a, b] = await engine.descend(
        [0, 1].map((slot) => ({ slot, landscape: 0, noise: 0, step: 0 })),
      )
      expect(b?.energy).toBe(a?.energy)
      engine.release(0)
      expect(await engine.energy([{ slot: 1, landscape: 0 }])).toHaveLength(1)
      await engine.close()
    })

    it('encodes the same in chunks as at once, and observes what it encodes', async () => {
      const engine = await open(modelOf(label))
      const encode = async (contextId: number, tokens: number[]) => {
        const row = { contextId, tokens, pages: pagesFor(contextId, 8) }
        return (await engine.encode([row]))[0] as Float32Array
      }
      const whole = await encode(0, context)
      const parts = [await encode(1, context.slice(0, 2)), await encode(1, context.slice(2))]
      expect(whole).toHaveLength(engine.model.dim)
      expect(Math.hypot(...whole)).toBeGreaterThan(0)
      const summed = [...whole].map((_, d) => (parts[0]?.[d] ?? 0) + (parts[1]?.[d] ?? 0))
      expect(relativeError(summed, [...whole])).toBeLessThan(tolerance)
      await engine.observe([{ contextId: 2, tokens: context, pages: pagesFor(2, 8) }])
      await engine.begin([0, 1, 2].map((i) => ({ slot: i, contextId: i, seed: 1, candidate: 0 })))
      const [a, b, c] = await engine.descend(
        [0, 1, 2].map((slot) => ({ slot, landscape: 0, noise: 0, step: 0 })),
      )
      expect(a?.energy).toBeCloseTo(c?.energy as number, 4)
      expect(b?.energy).toBeCloseTo(c?.energy as number, 4)
      await engine.close()
    })

    it('returns the points of an answer, and begins at a given point', async () => {
      const engine = await open(modelOf(label))
      const { answer, dim } = engine.model
      await engine.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
      await engine.begin([{ slot: 0, contextId: 0, seed: 3, candidate: 0 }])
      for (let step = 0; step < 3; step++)
        await engine.descend([
          { slot: 0, landscape: landscapeOf(engine.model, step), noise: 0, step },
        ])
      const [best, last, start] = await engine.points(
        (['best', 'last', 'present'] as const).map((which) => ({ slot: 0, which })),
      )
      expect(best).toHaveLength(answer.block * dim)
      expect(last).toHaveLength(answer.block * dim)
      expect(start).toHaveLength(answer.block * stateWidth(engine.model))
      const landscape = landscapeOf(engine.model, 3)
      const there = (await engine.energy([{ slot: 0, landscape }]))[0]?.energy as number
      if (!start) throw new Error('no point')
      await engine.begin([{ slot: 1, contextId: 0, seed: 9, candidate: 5, start }])
      const again = (await engine.energy([{ slot: 1, landscape }]))[0]?.energy
      // Only the first step of an answer passes through softmax there.
      if (answer.normalize !== 'first_step') expect(again).toBeCloseTo(there, 4)
      expect([...((await engine.points([{ slot: 1, which: 'present' }]))[0] ?? [])]).toEqual([
        ...start,
      ])
      await engine.close()
    })

    it('saves an answer and continues it elsewhere with the same bits', async () => {
      const [engine, other] = [await open(modelOf(label)), await open(modelOf(label))]
      const { block } = engine.model.answer
      const clamped = clampedAt(block, 0, 4)
      const continued = async (e: EnergyEngine, slot: number) => {
        const steps: StepResult[][] = []
        for (const step of [3, 4, 5]) {
          const landscape = landscapeOf(engine.model, step)
          const row = { slot, landscape, noise: 0.01, step, acceptLower: step === 4 }
          steps.push(await e.descend([row]))
        }
        const closed = await e.energy([{ slot, landscape: landscapeOf(engine.model, 6) }])
        const read = await e.read(
          (['best', 'last'] as const).map((which) => ({ slot, which, top: 'all' })),
        )
        const whiches = ['best', 'last', 'present'] as const
        const found = await e.points(whiches.map((which) => ({ slot, which })))
        return { steps, closed, read, found, after: await e.save(slot) }
      }
      for (const [slot, known] of [undefined, block > 1 ? clamped : undefined].entries()) {
        const seed = slot === 0 ? -(2 ** 40) - 3 : 2 ** 40 + 3
        const begin = { slot, contextId: 0, seed, candidate: 7 }
        await engine.observe([{ contextId: 0, from: 0, tokens: context, pages: pagesFor(0, 8) }])
        await engine.begin([{ ...begin, ...(known && { clamped: known }) }])
        for (const taken of [0, 3]) {
          for (let step = 0; step < taken; step++)
            await engine.descend([
              { slot, landscape: landscapeOf(engine.model, step), noise: 0.02, step },
            ])
          const saved = await engine.save(slot)
          await other.observe([{ contextId: 2, from: 0, tokens: context, pages: pagesFor(2, 8) }])
          await other.restore(5, 2, saved)
          expect(await other.save(5)).toEqual(saved)
          const wanted = await continued(engine, slot)
          expect(await continued(other, 5)).toEqual(wanted)
          engine.release(0)
          await engine.observe([{ contextId: 1, from: 0, tokens: context, pages: pagesFor(3, 8) }])
          await engine.restore(slot, 1, saved)
          expect(await continued(engine, slot)).toEqual(wanted)
          await engine.observe([{ contextId: 0, from: 0, tokens: context, pages: pagesFor(0, 8) }])
          await engine.begin([{ ...begin, ...(known && { clamped: known }) }])
        }
      }
      await engine.close()
      await other.close()
    })

    /** Skips the test where the engine takes no pushes. */
    const openFor = async (skip: (condition: boolean, note: string) => void, model: string) => {
      const engine = await open(modelOf(model))
      const { takesPushes = false } = engine.capacity
      if (!takesPushes) await engine.close()
      skip(!takesPushes, 'the engine takes no pushes')
      return engine
    }

    it('adds the gradient of a term to a step, as finite differences of the read-out give it', async ({
      skip,
    }) => {
      const engine = await openFor(skip, label)
      const { answer, dim, vocab_size: vocab } = engine.model
      const { block } = answer
      const width = stateWidth(engine.model)
      const clamped = block > 1 ? clampedAt(block, 1, 4) : undefined
      await engine.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
      const start = normals(3, 0, 0, block * width)
      const begin = async (slot: number, at: Float32Array) => {
        await engine.begin([
          { slot, contextId: 0, seed: 1, candidate: 0, start: at, ...(clamped && { clamped }) },
        ])
      }
      // A term that is linear in what is read: its gradient by logits and by points is these numbers.
      const byLogits = normals(4, 0, 0, block * vocab)
      const byPoints = normals(5, 0, 0, block * dim)
      const term = async (at: Float32Array, logits: boolean, points: boolean): Promise<number> => {
        await begin(1, at)
        const row = { slot: 1, which: 'last' } as const
        const [read] = await engine.read([{ ...row, top: 'all' }])
        const [point] = await engine.points([row])
        const moves = (i: number, size: number) => clamped?.[Math.floor(i / size)] !== 4
        const along = (a: Float32Array, b: Float32Array, size: number) =>
          a.reduce((sum, x, i) => (moves(i, size) ? sum + x * (b[i] as number) : sum), 0)
        return (
          (logits ? along(byLogits, read?.logits ?? byLogits, vocab) : 0) +
          (points ? along(byPoints, point ?? byPoints, dim) : 0)
        )
      }
      for (const [logits, points] of [
        [true, false],
        [false, true],
        [true, true],
      ] as const) {
        const push = { ...(logits && { logits: byLogits }), ...(points && { points: byPoints }) }
        const alpha = 2
        const row = { slot: 0, landscape: 0, noise: 0, step: 3, stepSize: alpha }
        const amortized =
          engine.model.energy.kind === 'residual' && engine.model.energy.direction === 'amortized'
        const stepped = async (which: 'present' | 'last', pushed: boolean) => {
          await begin(0, start)
          const [result] = await engine.descend([{ ...row, ...(pushed && { push }) }])
          const [point] = await engine.points([{ slot: 0, which }])
          return { result, point: point as Float32Array }
        }
        const step = 1e-2
        const gradient: number[] = []
        for (const [i, x] of start.entries()) {
          const at = (change: number) => start.with(i, x + change)
          const above = await term(at(step), logits, points)
          gradient.push((above - (await term(at(-step), logits, points))) / (2 * step))
        }
        if (amortized) {
          // The push comes first: the same step from where it leads.
          const { result, point } = await stepped('present', true)
          const there = start.map((x, i) => x - alpha * (gradient[i] as number))
          await begin(0, there)
          const [wanted] = await engine.descend([row])
          const [after] = await engine.points([{ slot: 0, which: 'present' }])
          expect(result?.energy).toBeCloseTo(wanted?.energy as number, 2)
          expect(relativeError([...point], [...(after as Float32Array)])).toBeLessThan(2e-3)
          continue
        }
        const plain = await stepped('present', false)
        const pushed = await stepped('present', true)
        expect(pushed.result?.energy).toBe(plain.result?.energy)
        const moved = [...pushed.point].map((x, i) => ((plain.point[i] as number) - x) / alpha)
        expect(relativeError(moved, gradient)).toBeLessThan(2e-3)
        // The norm is that of the whole direction, at positions that move.
        const base = stepBase(engine.model, start, 3)
        const direction = [...pushed.point].flatMap((x, i) =>
          clamped?.[Math.floor(i / width)] === 4 ? [] : [((base[i] as number) - x) / alpha],
        )
        expect(pushed.result?.gradientNorm).toBeCloseTo(Math.hypot(...direction), 1)
      }
      await engine.close()
    })

    it('takes pushes for some rows of a batch, and leaves the others as they are', async ({
      skip,
    }) => {
      const engine = await openFor(skip, label)
      const alone = await open(modelOf(label))
      const { answer, vocab_size: vocab } = engine.model
      const push = { logits: normals(4, 0, 0, answer.block * vocab) }
      for (const each of [engine, alone]) {
        await each.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
        await each.begin(
          [0, 1, 2].map((slot) => ({ slot, contextId: 0, seed: 1, candidate: slot })),
        )
      }
      const rowAt = (slot: number, step: number) => ({
        slot,
        step,
        noise: 0.01,
        landscape: landscapeOf(engine.model, step),
        ...(slot === 1 && { push }),
      })
      for (let step = 0; step < 3; step++) {
        const together = await engine.descend([0, 1, 2].map((slot) => rowAt(slot, step)))
        for (const slot of [0, 1, 2]) {
          const [single] = await alone.descend([rowAt(slot, step)])
          expect(together[slot]?.energy).toBeCloseTo(single?.energy as number, 4)
          expect(together[slot]?.gradientNorm).toBeCloseTo(single?.gradientNorm as number, 4)
        }
      }
      await engine.close()
      await alone.close()
    })

    it('refuses a push of another size, and one with a step that may not be taken', async ({
      skip,
    }) => {
      const engine = await openFor(skip, label)
      await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0 }])
      const row = { slot: 0, landscape: 0, noise: 0, step: 0 }
      const numbers = new Float32Array(engine.model.answer.block * engine.model.vocab_size)
      for (const push of [{ logits: numbers.slice(1) }, { points: numbers.slice(1) }])
        await expect((async () => engine.descend([{ ...row, push }]))()).rejects.toThrow(
          expect.objectContaining({ code: 'out_of_range' }),
        )
      const both = { ...row, push: { logits: numbers }, acceptLower: true }
      await expect((async () => engine.descend([both]))()).rejects.toThrow(/push must be left out/)
      await engine.close()
    })

    it('gives the vectors that points consist of, and reads where the next step begins', async ({
      skip,
    }) => {
      const engine = await openFor(skip, label)
      const { answer, dim, vocab_size: vocab } = engine.model
      const tokens = [2, 0, vocab - 1]
      const vectors = (await engine.tokenVectors?.(tokens)) ?? []
      expect(vectors).toHaveLength(3)
      const start = new Float32Array(answer.block * stateWidth(engine.model))
      if (answer.space === 'vocab') {
        // All weight on one token: the point is its vector.
        for (const [i, token] of tokens.entries()) {
          const at = start.map((_, j) => (j % vocab === token ? 80 : 0))
          await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0, start: at }])
          const [point] = await engine.points([{ slot: 0, which: 'last' }])
          expect(
            relativeError([...(point?.slice(0, dim) ?? [])], [...(vectors[i] ?? [])]),
          ).toBeLessThan(tolerance)
        }
      } else {
        // The logits of a point are its products with the vectors.
        const at = normals(6, 0, 0, start.length)
        await engine.begin([{ slot: 0, contextId: 0, seed: 1, candidate: 0, start: at }])
        await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
        const [read] = await engine.read([{ slot: 0, which: 'present', top: 'all' }])
        const [present] = await engine.points([{ slot: 0, which: 'present' }])
        tokens.forEach((token, i) => {
          const product = (vectors[i] ?? start).reduce(
            (sum, x, d) => sum + x * ((present ?? start)[d] as number),
            0,
          )
          expect(read?.logits[token]).toBeCloseTo(product, 3)
        })
      }
      await engine.close()
    })

    it('keeps the best answer and does not move clamped positions', async () => {
      const engine = await open(modelOf(label))
      const { block } = engine.model.answer
      const clamped = clampedAt(block, block - 1, 7)
      await engine.observe([{ contextId: 0, tokens: context, pages: pagesFor(0, 8) }])
      await engine.begin([{ slot: 0, contextId: 0, seed: 3, candidate: 0, clamped }])
      let best = Infinity
      for (let step = 0; step < 4; step++) {
        const result = (
          await engine.descend([
            { slot: 0, landscape: landscapeOf(engine.model, step), noise: 0, step },
          ])
        )[0]
        if (!result) throw new Error('no result')
        expect(Number.isFinite(result.energy)).toBe(true)
        const counts =
          engine.model.energy.kind === 'residual' ||
          step > 0 ||
          engine.model.answer.start === 'draft'
        if (counts) best = Math.min(best, result.energy)
        expect(result.best).toBe(best)
      }
      const closed = (
        await engine.energy([{ slot: 0, landscape: landscapeOf(engine.model, 4) }])
      )[0]
      expect(closed?.best).toBe(
        engine.model.energy.kind === 'residual' ? best : Math.min(best, closed?.energy as number),
      )
      const top = (await engine.read([{ slot: 0, which: 'best', top: 2 }]))[0]
      expect(top?.tokens[2 * (block - 1)]).toBe(7)
      expect(top?.logProbs[2 * (block - 1)]).toBeCloseTo(0, 5)
      await engine.close()
    })
  })

  it(`${name}: reads the weights of a temperature, at clamped positions too`, async () => {
    const engine = await open(modelOf('latent residual amortized, K 4'))
    const { vocab_size: vocab, answer } = engine.model
    await engine.observe([{ contextId: 0, tokens: [1, 2], pages: pagesFor(0, 8) }])
    const clamped = Array.from({ length: answer.block }, (_, i) => (i === 0 ? 3 : -1))
    await engine.begin([{ slot: 0, contextId: 0, seed: 4, candidate: 0, clamped }])
    await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
    const row = { slot: 0, which: 'last', top: 'all' } as const
    const [plain, weighed] = await engine.read([row, { ...row, temperature: 0.7 }])
    expect(plain?.weights).toHaveLength(0)
    expect(weighed?.logits).toHaveLength(0)
    for (let i = 0; i < answer.block; i++) {
      const logits = [...(plain?.logits.subarray(i * vocab, (i + 1) * vocab) ?? [])]
      const largest = Math.max(...logits)
      const weights = logits.map((z) => Math.exp((z - largest) / 0.7))
      weights.forEach((w, v) => expect(weighed?.weights[i * vocab + v]).toBeCloseTo(w, 5))
    }
    for (const draw of [1e-9, 0.2, 0.5, 0.8, 1 - 1e-9]) {
      const draws = new Array<number>(answer.block).fill(draw)
      const [drawn] = await engine.read([{ ...row, temperature: 0.7, draws }])
      const wanted = draws.map((_, i) =>
        drawAmong(
          weighed?.weights.subarray(i * vocab, (i + 1) * vocab) ?? new Float32Array(0),
          draw,
        ),
      )
      expect([...(drawn?.tokens ?? [])]).toEqual(wanted)
      expect(wanted[0]).toBe(3)
    }
    await engine.close()
  })

  it.each(['latent residual amortized, K 4', 'vocab head'])(
    `${name}: gives tokens that are not allowed no weight and no place: %s`,
    async (label) => {
      const engine = await open(modelOf(label))
      const { vocab_size: vocab, answer } = engine.model
      await engine.observe([{ contextId: 0, tokens: [1, 2], pages: pagesFor(0, 8) }])
      const clamped = Array.from({ length: answer.block }, (_, i) => (i === 1 ? 3 : -1))
      const given = answer.block > 1 ? { clamped } : {}
      await engine.begin([{ slot: 0, contextId: 0, seed: 4, candidate: 0, ...given }])
      await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
      const row = { slot: 0, which: 'last', top: 'all' } as const
      const odd = Int32Array.from({ length: Math.ceil(vocab / 32) }, () => 0xaaaaaaaa | 0)
      const [plain, masked, likeliest] = await engine.read([
        row,
        { ...row, temperature: 0.7, allowed: odd },
        { ...row, top: 1, allowed: odd },
      ])
      for (let i = 0; i < answer.block; i++) {
        const isClamped = i === 1
        const logits = [...(plain?.logits.subarray(i * vocab, (i + 1) * vocab) ?? [])]
        const left = logits.map((z, v) => (isClamped || v % 2 === 1 ? z : -Infinity))
        const largest = Math.max(...left)
        const own = masked?.weights.subarray(i * vocab, (i + 1) * vocab) ?? new Float32Array(0)
        left.forEach((z, v) => {
          if (z === -Infinity) expect(own[v]).toBe(0)
          else expect(own[v]).toBeCloseTo(Math.exp((z - largest) / 0.7), 5)
        })
        expect(likeliest?.tokens[i]).toBe(left.indexOf(largest))
        for (const draw of [1e-9, 0.3, 0.7, 1 - 1e-9]) {
          const draws = new Array<number>(answer.block).fill(draw)
          const asked = { ...row, temperature: 0.7, draws, allowed: odd }
          const [drawn] = await engine.read([asked])
          expect(drawn?.tokens[i]).toBe(drawAmong(own, draw))
        }
      }
      await engine.close()
    },
  )

  describe(`${name}: saved answers that cannot be restored`, () => {
    const tokens = [1, 2, 3]
    const refused = (reason: RegExp): Error =>
      expect.objectContaining({
        code: 'invalid_state',
        message: expect.stringMatching(reason) as string,
      }) as Error
    const beginning = async (label: string) => {
      const engine = await open(modelOf(label))
      await engine.observe([{ contextId: 0, tokens, pages: pagesFor(0, 8) }])
      await engine.begin([{ slot: 0, contextId: 0, seed: 4, candidate: 0 }])
      await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])
      return engine
    }

    it.each(['latent residual amortized, K 4', 'vocab head'])(
      'are refused when cut off or damaged anywhere, and the slot stays as it is: %s',
      async (label) => {
        const engine = await beginning(label)
        const saved = await engine.save(0)
        for (let length = 0; length < saved.length; length += 7)
          await expect(attempt(() => engine.restore(0, 0, saved.slice(0, length)))).rejects.toThrow(
            refused(/not a saved answer|incomplete/),
          )
        for (let at = 0; at < saved.length; at++) {
          const damaged = saved.slice()
          damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
          await expect(
            attempt(() => engine.restore(0, 0, damaged)),
            `byte ${at}`,
          ).rejects.toThrow(refused(/not a saved answer|version|incomplete|damaged/))
        }
        expect(await engine.save(0)).toEqual(saved)
        await engine.close()
      },
    )

    it('are refused by another model, other weights, and under a context of another length', async () => {
      const label = 'latent residual amortized, K 4'
      const engine = await beginning(label)
      const saved = await engine.save(0)
      const { config, tensors } = modelOf(label)
      const readout = tensors.get('answer.readout.weight')
      if (!readout) throw new Error('no read-out')
      const changed = readout.data.map((x, i) => (i === 0 ? x + 1 : x))
      const others = [
        modelOf('latent residual, draft'),
        { config: { ...config, norm_eps: 1e-6 }, tensors },
        {
          config,
          tensors: new Map(tensors).set('answer.readout.weight', { ...readout, data: changed }),
        },
      ]
      for (const checkpoint of others) {
        const other = await open(checkpoint)
        await other.observe([{ contextId: 0, tokens, pages: pagesFor(0, 8) }])
        await expect(attempt(() => other.restore(0, 0, saved))).rejects.toThrow(
          refused(/another model/),
        )
        await other.close()
      }
      const renamed = await open({ config: { ...config, name: 'renamed' }, tensors })
      await renamed.observe([{ contextId: 0, tokens, pages: pagesFor(0, 8) }])
      await renamed.restore(0, 0, saved)
      expect(await renamed.save(0)).toEqual(saved)
      await renamed.close()
      await engine.observe([{ contextId: 1, tokens: [1, 2], pages: pagesFor(1, 8) }])
      await expect(attempt(() => engine.restore(1, 1, saved))).rejects.toThrow(
        refused(/after 3 observed tokens, and this context has 2/),
      )
      await engine.close()
    })

    it('are refused in slots and contexts that do not exist, and a slot that was not begun is not saved', async () => {
      const engine = await beginning('latent residual amortized, K 4')
      const saved = await engine.save(0)
      const outOfRange = expect.objectContaining({ code: 'out_of_range' }) as Error
      for (const slot of [-1, 16, NaN, 0.5])
        await expect(attempt(() => engine.restore(slot, 0, saved))).rejects.toThrow(outOfRange)
      for (const contextId of [-1, 16, NaN])
        await expect(attempt(() => engine.restore(0, contextId, saved))).rejects.toThrow(outOfRange)
      for (const slot of [1, -1, 99])
        await expect(attempt(() => engine.save(slot))).rejects.toThrow(outOfRange)
      await engine.close()
    })
  })

  describe(`${name}: step sizes`, () => {
    /** From y = 0 the state after a step is -alpha d, and the read-out is linear. */
    const measuring = async (checkpoint: Checkpoint) => {
      const { answer, dim } = checkpoint.config
      const engine = await open(checkpoint)
      await engine.observe([{ contextId: 0, tokens: [1, 2], pages: pagesFor(0, 8) }])
      const start = new Float32Array(answer.block * dim)
      const sizeOfStep = async (
        asked: Partial<Pick<DescendRow, 'step' | 'stepSize'>>,
      ): Promise<number> => {
        await engine.begin([{ slot: 0, contextId: 0, seed: 0, candidate: 0, start }])
        await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0, ...asked }])
        const [readout] = await engine.read([{ slot: 0, which: 'last', top: 'all' }])
        return Math.hypot(...(readout?.logits ?? []))
      }
      return { engine, sizeOfStep }
    }

    it('below 1 scale the trained step size, and from 1 on replace it', async () => {
      const { engine, sizeOfStep } = await measuring(modelOf('latent potential')) // trained: 0.5
      const trained = await sizeOfStep({})
      expect(trained).toBeGreaterThan(0)
      expect((await sizeOfStep({ stepSize: 0.5 })) / trained).toBeCloseTo(0.5, 4)
      expect((await sizeOfStep({ stepSize: 2 })) / trained).toBeCloseTo(4, 4)
      await engine.close()
    })

    it('decay to the trained step size repeatedly where the model says so', async () => {
      const { config, tensors } = modelOf('latent potential')
      const repeating = { from: 3, steps: 8, start: 4, repeat: true }
      const { engine, sizeOfStep } = await measuring({
        config: { ...config, step_decay: repeating },
        tensors,
      })
      const ratios: number[] = []
      for (const step of [0, 3, 4, 8, 11, 12, 20])
        ratios.push((await sizeOfStep({ step })) / (await sizeOfStep({})))
      for (const [i, ratio] of [1, 1, 3, 2, 1.25, 3, 3].entries())
        expect(ratios[i]).toBeCloseTo(ratio, 4)
      await engine.close()
    })

    it('decay to the trained step size where the model says so', async () => {
      const { config, tensors } = modelOf('latent potential')
      const decaying = { ...config, step_decay: { from: 3, steps: 8 } }
      const { engine, sizeOfStep } = await measuring({ config: decaying, tensors })
      const trained = await sizeOfStep({ step: 8 })
      expect(await sizeOfStep({ step: 100 })).toBe(trained)
      expect((await sizeOfStep({ step: 0 })) / trained).toBeCloseTo(3, 4)
      expect((await sizeOfStep({ step: 6 })) / trained).toBeCloseTo(1.5, 4)
      expect((await sizeOfStep({ step: 6, stepSize: 0.5 })) / trained).toBeCloseTo(0.75, 4)
      expect((await sizeOfStep({ step: 6, stepSize: 2 })) / trained).toBeCloseTo(4, 4)
      await engine.close()
    })
  })

  describe(`${name}: impossible requests`, () => {
    it('throws an error that names the field and the bound, and goes on', async () => {
      const engine = await open(modelOf('latent residual amortized, K 4'))
      const rejects = async (act: () => unknown) => {
        await expect(attempt(act)).rejects.toThrow(BasinError)
      }
      await rejects(() => engine.observe([{ contextId: -1, tokens: [1], pages: pagesFor(0, 8) }]))
      await rejects(() => engine.observe([{ contextId: 1e9, tokens: [1], pages: pagesFor(0, 8) }]))
      await rejects(() => engine.observe([{ contextId: 0, tokens: [1e6], pages: pagesFor(0, 8) }]))
      await rejects(() => engine.observe([{ contextId: 0, tokens: [NaN], pages: pagesFor(0, 8) }]))
      await rejects(() => engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }]))
      await rejects(() =>
        engine.observe([{ contextId: 0, from: 9, tokens: [1], pages: pagesFor(0, 16) }]),
      )
      await rejects(() =>
        engine.observe([{ contextId: 0, from: -2, tokens: [1], pages: pagesFor(0, 8) }]),
      )
      await rejects(() =>
        engine.observe([{ contextId: 0, from: 0, tokens: [], pages: pagesFor(0, 8) }]),
      )
      await rejects(() => engine.read([{ slot: 99, which: 'best', top: 1 }]))
      await engine.observe([{ contextId: 0, tokens: [1], pages: pagesFor(0, 8) }])
      await rejects(() =>
        engine.begin([
          { slot: 0, contextId: 0, seed: 0, candidate: 0, start: new Float32Array(3) },
        ]),
      )
      await engine.begin([{ slot: 0, contextId: 0, seed: 0, candidate: 0 }])
      await rejects(() => engine.descend([{ slot: 0, landscape: 5, noise: 0, step: 0 }]))
      expect(await engine.descend([{ slot: 0, landscape: 0, noise: 0, step: 0 }])).toHaveLength(1)
      await engine.close()
    })
  })
}

/** Begins an answer after each token, in a context and a slot of its own, from the given logits. */
async function beginAtEveryToken(
  engine: EnergyEngine,
  tokens: readonly number[],
  starts: readonly (readonly number[])[] = [],
): Promise<void> {
  for (const i of tokens.keys()) {
    const start = Float32Array.from(starts[i] ?? [])
    await engine.observe([
      { contextId: i, tokens: tokens.slice(0, i + 1), pages: pagesFor(i, i + 1) },
    ])
    await engine.begin([{ slot: i, contextId: i, seed: 0, candidate: 0, start }])
  }
}

/** Each context has a page table of its own; the contexts of these tests fit `pagesPerContext` pages. */
const pagesPerContext = 4
const pagesFor = (contextId: number, length: number): number[] =>
  Array.from(
    { length: Math.min(pagesPerContext, Math.ceil(length / 16)) },
    (_, i) => contextId * pagesPerContext + i,
  )

const clampedAt = (block: number, position: number, token: number): number[] =>
  Array.from({ length: block }, (_, i) => (i === position ? token : -1))

/** Where step `step` begins: softmax of the state where the model normalizes it. */
function stepBase({ answer, vocab_size: vocab }: ModelConfig, state: Float32Array, step: number) {
  const normalizes =
    answer.normalize === 'every_step' || (answer.normalize === 'first_step' && step === 0)
  if (answer.space !== 'vocab' || !normalizes) return state
  const base = state.map((z) => Math.exp(z))
  for (let from = 0; from < base.length; from += vocab) {
    const row = base.subarray(from, from + vocab)
    const total = row.reduce((sum, x) => sum + x, 0)
    row.forEach((x, v) => (row[v] = x / total))
  }
  return base
}

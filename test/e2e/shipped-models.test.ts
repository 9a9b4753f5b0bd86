/** The abilities of the shipped models, over HTTP. Skipped in a tree without their weights. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { additionTask } from '../../src/train/tasks/addition.js'
import { isSolution, sudokuTask } from '../../src/train/tasks/sudoku.js'
import { drawExamples } from '../../src/train/tasks/task.js'
import { worldTask } from '../../src/train/tasks/world.js'
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import { Peer, type StepFrame } from '../support/peer.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const givens = { min: 12, max: 16 }
const puzzles = Array.from(
  drawExamples(sudokuTask({ size: 6, givens }), { count: 24, seed: 2026 }),
  ({ template: puzzle }) => ({ puzzle }),
)

const longer = additionTask({ digits: { min: 9, max: 12 }, width: 12 })

/** Of six to eight sentences and two hops, as in the training of `worlds`. */
const worlds = Array.from(
  drawExamples(worldTask({ sentences: { min: 6, max: 8 }, hops: { min: 2, max: 2 }, room: 12 }), {
    count: 12,
    seed: 2026,
  }),
)
const wordsOf = (text: string) => positionTexts(text, { kind: 'sentences' })

interface Line {
  length: number
  at: [number, number, number]
  energies: [number, number, number]
}

/** Directions of residual energies are so many gradients (docs/mathematics.md). */
const WIDTH = 128

/** Slope of the energy over distance, at the middle of the line. */
const slopeOf = ({ at, energies, length }: Line) =>
  (energies[2] - energies[0]) / ((at[2] - at[0]) * length)

/** The steps of one answer. */
async function descend(peer: Peer, request: object): Promise<StepFrame[]> {
  peer.forget()
  peer.say({ type: 'start', ...request, hold: false })
  await peer.finished()
  return peer.steps()
}

describe.skipIf(!shipped)('the shipped models', () => {
  let server: Server

  beforeAll(async () => {
    server = await Server.start(shippedModels)
  })

  afterAll(() => server.stop())

  it('were made before today', async () => {
    const reply = await fetch(`${server.url}/v1/models`)
    const { data } = (await reply.json()) as { data: { id: string; created: number }[] }
    const first = Date.UTC(2026, 10, 23) / 1000
    for (const { created, id } of data)
      expect([id, created > first && created < Date.now() / 1000]).toEqual([id, true])
  })

  async function solved(model: string, refinement: object): Promise<number> {
    const replies = await Promise.all(
      puzzles.map(({ puzzle: template }) => server.complete({ model, template, refinement })),
    )
    return replies.filter(({ choices }, i) =>
      isSolution(puzzles[i]?.puzzle ?? '', choices[0]?.text ?? ''),
    ).length
  }

  it.each(['sudoku6', 'sudoku6-exact'])(
    'solve most boards with their default budget, and few with one step (%s)',
    async (model) => {
      expect(await solved(model, { max_steps: 1 })).toBeLessThan(puzzles.length / 2)
      expect(await solved(model, {})).toBeGreaterThan(puzzles.length * 0.85)
    },
  )

  it('add numbers that are longer than those of their training', async () => {
    const sums = Array.from(drawExamples(longer, { count: 80, seed: 2026 }))
    const right = async (refinement: object) => {
      const ask = ({ template }: { template?: string }) =>
        server.complete({ model: 'addition', template, refinement })
      const replies = await Promise.all(sums.map(ask))
      return replies.filter(({ choices }, i) => choices[0]?.text === sums[i]?.completion).length
    }
    const settled = await right({})
    expect(settled).toBeGreaterThan(sums.length * 0.7)
    expect(await right({ max_steps: 1 })).toBeLessThan(settled)
  })

  it('know more of what is true in a story with more steps (worlds)', async () => {
    const known = async (refinement: object) => {
      const ask = ({ template }: { template?: string }) =>
        server.complete({ model: 'worlds', template, refinement })
      const replies = await Promise.all(worlds.map(ask))
      const facts = replies.flatMap(({ choices }, i) => {
        const [blanks, truth] = [worlds[i]?.template, worlds[i]?.completion].map((text) =>
          wordsOf(text ?? ''),
        )
        return wordsOf(choices[0]?.text ?? '')
          .map((word, position) => word === truth?.[position])
          .filter((_, position) => blanks?.[position] === ' _')
      })
      return facts.filter(Boolean).length / facts.length
    }
    expect(await known({ max_steps: 1 })).toBeLessThan(0.85)
    expect(await known({})).toBeGreaterThan(0.93)
  })

  const said = { model: 'tales', temperature: 0, seed: 1 }

  it('fill blanks between known text, and keep the text (tales)', async () => {
    const template =
      'Once upon a time there was a _{3} named Tom. He was very sad because he lost his _. His mom said, "Do not cry."'
    const { choices } = await server.complete({ ...said, template })
    const form = template.replaceAll('.', '\\.').replaceAll(/ _(\{3\})?/g, '.+')
    expect(choices[0]?.text).toMatch(new RegExp(`^${form}$`, 's'))
  })

  it('write more different words in rounds than at once, over several blocks (tales)', async () => {
    const different = async (refinement: object) => {
      const prompt = 'One day, a little girl named Lily went to the park.'
      const ask = { ...said, prompt, max_tokens: 80, refinement }
      const { choices } = await server.complete(ask)
      const words = (choices[0]?.text ?? '').split(/[^a-z]+/i).filter(Boolean)
      return new Set(words).size
    }
    expect(await different({})).toBeGreaterThan(await different({ commit: null }))
  })

  it('show the words of a block change until they are committed (tales)', async () => {
    const peer = await Peer.connect(server.socket)
    const steps = await descend(peer, { ...said, prompt: 'Once upon a time', max_tokens: 32 })
    await peer.close()
    expect(steps).toHaveLength(32)
    const committed = steps.map((step) => step.committed ?? 0)
    expect(committed).toEqual(committed.toSorted((a, b) => a - b))
    expect(committed.at(-1)).toBe(31)
    expect(new Set(steps.map(({ text }) => text)).size).toBeGreaterThan(4)
  })

  it.each(['sudoku6', 'sudoku6-exact'])(
    'lower the mean energy of boards in most steps (%s)',
    async (model) => {
      const peer = await Peer.connect(server.socket)
      const sums = new Array<number>(16).fill(0)
      for (const { puzzle: template } of puzzles.slice(0, 8)) {
        const steps = await descend(peer, { model, template, refinement: { max_steps: 16 } })
        for (const { energy, step } of steps) sums[step - 1] = (sums[step - 1] ?? 0) + energy
      }
      await peer.close()
      const falling = sums.slice(1).filter((sum, i) => sum < (sums[i] ?? 0)).length
      expect(falling).toBeGreaterThanOrEqual(13)
      expect(sums[15] ?? NaN).toBeLessThan((sums[0] ?? NaN) / 10)
    },
  )

  it('descend along the true gradient of the streamed energy (sudoku6-exact)', async () => {
    const peer = await Peer.connect(server.socket)
    const [{ puzzle: template } = { puzzle: '' }] = puzzles
    const start = { model: 'sudoku6-exact', template }
    const slopes: number[] = []
    const norms: number[] = []
    for (const steps of [2, 4, 6]) {
      const around = { ...start, refinement: { max_steps: steps }, directions: ['gradient'] }
      const reply = await server.post('/v1/landscape', { ...around, points: 3, reach: 1e-3 })
      slopes.push(slopeOf(((await reply.json()) as { lines: [Line] }).lines[0]))
      const descent = await descend(peer, { ...start, refinement: { max_steps: steps + 1 } })
      norms.push(descent.at(-1)?.gradient_norm ?? NaN)
    }
    await peer.close()
    slopes.forEach((slope, i) => {
      expect((WIDTH * slope) / -(norms[i] ?? NaN)).toBeCloseTo(1, 1)
    })
  })

  it('complete any text if no model is named', async () => {
    const reply = await server.complete({ prompt: 'Once upon a time', max_tokens: 8 })
    expect(reply).toMatchObject({ model: 'stories', usage: { completion_tokens: 8 } })
  })

  it('end a board by convergence', async () => {
    const refinement = { max_steps: null, tolerance: 0.01, patience: 3 }
    const [first] = puzzles
    const reply = await server.complete({ model: 'sudoku6', template: first?.puzzle, refinement })
    expect(reply.refinement).toMatchObject({ stop_reason: 'converged' })
  })

  it('write the same stories in a batch as alone', async () => {
    const openings = ['Once upon a time', 'The little dog', 'Lily was sad', 'One day, a cat']
    const requests = Array.from({ length: 16 }, (_, i) => ({
      model: 'stories',
      prompt: openings[i % 4],
      max_tokens: 4 + (i % 8),
      temperature: 0,
    }))
    const alone: string[] = []
    for (const request of requests) {
      alone.push((await server.complete(request)).choices[0]?.text ?? '')
    }
    const together = await Promise.all(requests.map((request) => server.complete(request)))
    expect(together.map(({ choices }) => choices[0]?.text)).toEqual(alone)
  })

  it('never send half a character', async () => {
    const reply = await server.complete({
      model: 'stories',
      prompt: 'Größe — 大きさ 🙂',
      max_tokens: 24,
      temperature: 2,
      seed: 7,
    })
    expect(reply.choices[0]?.text).toBeTypeOf('string')
    expect(reply.usage.prompt_tokens).toBeGreaterThan(5)
  })
})

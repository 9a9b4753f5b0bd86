/** What the shipped models promise, over HTTP. Left out only in a tree without their weights. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isSolution, sudokuTask } from '../../src/train/tasks/sudoku.js'
import { drawExamples } from '../../src/train/tasks/task.js'
import { Peer } from '../support/peer.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const givens = { min: 12, max: 16 }
const puzzles = Array.from(
  drawExamples(sudokuTask({ size: 6, givens }), { count: 24, seed: 2026 }),
  ({ template: puzzle }) => ({ puzzle }),
)

describe.skipIf(!shipped)('the shipped models', () => {
  let server: Server

  beforeAll(async () => {
    server = await Server.start(shippedModels)
  })

  afterAll(() => server.stop())

  async function solved(refinement: object): Promise<number> {
    const replies = await Promise.all(
      puzzles.map(({ puzzle: template }) =>
        server.complete({ model: 'sudoku6', template, refinement }),
      ),
    )
    return replies.filter(({ choices }, i) =>
      isSolution(puzzles[i]?.puzzle ?? '', choices[0]?.text ?? ''),
    ).length
  }

  it('solve boards by thinking, and not at a glance', async () => {
    expect(await solved({ max_steps: 1 })).toBeLessThan(puzzles.length / 2)
    expect(await solved({})).toBeGreaterThan(puzzles.length * 0.85)
  })

  it('let the energy of a board fall, step by step on average', async () => {
    const peer = await Peer.connect(server.socket)
    const sums = new Array<number>(16).fill(0)
    for (const { puzzle: template } of puzzles.slice(0, 8)) {
      peer.forget()
      peer.say({ type: 'start', model: 'sudoku6', template, hold: false })
      await peer.finished()
      for (const { energy, step } of peer.steps()) sums[step - 1] = (sums[step - 1] ?? 0) + energy
    }
    await peer.close()
    const falling = sums.slice(1).filter((sum, i) => sum < (sums[i] ?? 0)).length
    expect(falling).toBeGreaterThanOrEqual(13)
    expect(sums[15] ?? NaN).toBeLessThan((sums[0] ?? NaN) / 10)
  })

  it('tell the end of a board by convergence', async () => {
    const refinement = { max_steps: null, tolerance: 0.01, patience: 3 }
    const [first] = puzzles
    const reply = await server.complete({ model: 'sudoku6', template: first?.puzzle, refinement })
    expect(reply.refinement).toMatchObject({ stop_reason: 'converged' })
  })

  it('write the same stories in company as alone', async () => {
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

  it('never send half a character, whatever is asked', async () => {
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

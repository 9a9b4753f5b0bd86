/** Restarts on a shipped model, through the built program. Skipped in a tree without the weights. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isSolution, sudokuTask } from '../../src/train/tasks/sudoku.js'
import { drawExamples } from '../../src/train/tasks/task.js'
import { eventsOf } from '../support/events.js'
import { Peer } from '../support/peer.js'
import { BasinProcess, Server, shipped, shippedModels } from '../support/process.js'

const givens = { min: 8, max: 9 }
const puzzles = Array.from(
  drawExamples(sudokuTask({ size: 6, givens }), { count: 6, seed: 77 }),
  ({ template }) => template,
)
/** Descents too short for most boards, so that several are needed. */
const refinement = {
  max_steps: 2000,
  energy_target: 0.5,
  restarts: { after: 6, keep: 4, policy: 'noise' },
}
const asked = (template = '') => ({ model: 'sudoku6', template, seed: 3, refinement })

describe.skipIf(!shipped)('restarts of a shipped model', () => {
  let server: Server

  beforeAll(async () => {
    server = await Server.start(shippedModels)
  })
  afterAll(() => server.stop())

  it('solve boards that one descent of so many steps does not, and are counted', async () => {
    const replies = await Promise.all(puzzles.map((puzzle) => server.complete(asked(puzzle))))
    const restarts = replies.reduce((sum, { refinement: found }) => {
      return sum + ((found as { restarts?: number }).restarts ?? NaN)
    }, 0)
    for (const [i, { choices, refinement: found }] of replies.entries()) {
      expect(found.stop_reason).toBe('energy_target')
      expect(found.energy.best).toBeLessThanOrEqual(0.5)
      expect(isSolution(puzzles[i] ?? '', choices[0]?.text ?? '')).toBe(true)
    }
    expect(restarts).toBeGreaterThan(0)
    expect(await server.metric('basin_restarts_total')).toBe(restarts)
    expect(await server.metric('basin_restart_steps_total')).toBe(6 * restarts)
    const once = await server.complete({
      ...asked(puzzles[0]),
      refinement: { max_steps: 5, candidates: 1 },
    })
    expect(once.refinement.energy.best).toBeGreaterThan(0.5)
  })

  it('give the same answer again, alone and on the socket, in pieces', async () => {
    const [puzzle] = puzzles
    const reply = await server.complete(asked(puzzle))
    const peer = await Peer.connect(server.socket)
    const first = { ...refinement, max_steps: 7 }
    peer.say({ type: 'start', ...asked(puzzle), refinement: first, hold: true })
    let finished = await peer.finished()
    for (let more = 0; finished.refinement.stop_reason === 'max_steps' && more < 300; more++) {
      peer.say({ type: 'extend', steps: 13 })
      finished = await peer.finished()
    }
    const steps = peer.steps() as unknown as { restart: number; candidate: number }[]
    await peer.close()
    expect(finished.refinement).toEqual(reply.refinement)
    expect(finished.text).toBe(reply.choices[0]?.text)
    expect(steps.length).toBe(reply.refinement.steps)
    expect(new Set(steps.map(({ candidate }) => candidate))).toEqual(new Set([0, 1, 2, 3]))
  })

  it('are told in the steps of a stream', async () => {
    const stream = { stream: true, stream_options: { include_refinement: true } }
    const reply = await server.post('/v1/completions', { ...asked(puzzles[1]), ...stream })
    const chunks = eventsOf(await reply.text()) as {
      refinement?: { type: string; restart?: number }
    }[]
    const numbers = chunks.flatMap(({ refinement: shown }) =>
      shown?.type === 'step' ? [shown.restart] : [],
    )
    expect(numbers.slice(0, 4)).toEqual([0, 0, 0, 0])
    expect(numbers.every((number) => Number.isInteger(number))).toBe(true)
  })

  it('come with effort high, whose easy boards need none', async () => {
    const [puzzle] = puzzles
    const body = { model: 'sudoku6', template: puzzle, reasoning_effort: 'high' }
    const { refinement: found } = await server.complete(body)
    expect(found).toMatchObject({ candidates: 8, stop_reason: 'energy_target' })
    expect(found.steps).toBeLessThan(8 * 16)
  })

  it('are asked for in the terminal', async () => {
    const flags = {
      model: `${shippedModels}/sudoku6`,
      template: puzzles[0] ?? '',
      restarts: 'noise',
      after: '5',
      candidates: '4',
      steps: '2000',
      seed: '3',
    }
    const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
    const { code, stderr, stdout } = await new BasinProcess('generate', ...words).ended
    expect(code).toBe(0)
    expect(isSolution(puzzles[0] ?? '', stdout.trim())).toBe(true)
    expect(stderr).toContain('energy_target')
  })
})

/**
 * Records searches of a real engine for the simulation, and the time that its calls take: one search for each of
 * some easy and some hard boards of 9x9, and of the first of a collection, until the model's energy target or the most steps; and for each board
 * whether equal numbers of steps, in descents from noise that nothing ends, give the right answer.
 */
import '../addon.js'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type {
  BeginRow,
  DescendRow,
  EnergyEngine,
  EnergyRow,
  ObserveRow,
  PointRow,
  ReadRow,
} from '../../src/energy/engine.js'
import { openEngine } from '../../src/energy/open-engine.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import { parseTemplate } from '../../src/generation/core/requests/prepare.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import { sudokuTask } from '../../src/train/tasks/sudoku.js'
import { readPuzzleLine } from '../../src/train/tasks/sudoku-lines.js'
import { drawExamples, type TaskExample } from '../../src/train/tasks/task.js'
import type { Budget } from '../../src/refine/budget.js'
import { EQUAL_CANDIDATES, equalSteps } from './jobs.js'
import {
  type RecordedBoard,
  type RecordedDescent,
  type Recording,
  readRecording,
  type Timing,
} from './recording.js'
import { boardRequest, budgetOf, settle } from './searching.js'

export interface RecordOptions {
  /** Of the model. */
  directory: string
  easy: number
  hard: number
  /** A collection of puzzles, one a line, and how many of it. */
  hardest?: string
  hardestCount: number
  /** Steps of a search at most. */
  most: number
  out: string
}

const SLOTS = 64
const EQUAL_STEPS = [64, 128, 256, 512]
const EASY = { min: 30, max: 45, seed: 777 }
const HARD = { min: 22, max: 25, seed: 4242 }
/** Significant digits of recorded energies: the finest rule compares changes of a thousandth. */
const DIGITS = 5

interface Course {
  candidate: number
  energies: number[][]
  right: boolean
}

/** The engine with the energies of every descent, and whether its best answer is the right one. */
class RecordingEngine implements EnergyEngine {
  readonly model
  readonly info
  readonly capacity
  readonly identity
  courses: Course[] = []
  solution: readonly number[] = []
  private readonly bySlot = new Map<number, Course>()
  private readonly byState = new WeakMap<Uint8Array, Course>()

  constructor(private readonly engine: EnergyEngine) {
    this.model = engine.model
    this.info = engine.info
    this.capacity = engine.capacity
    this.identity = engine.identity
  }

  observe(rows: readonly ObserveRow[]) {
    return this.engine.observe(rows)
  }

  encode(rows: readonly ObserveRow[]) {
    return this.engine.encode(rows)
  }

  begin(rows: readonly BeginRow[]) {
    for (const { candidate, slot, start } of rows) {
      const before = this.bySlot.get(slot)
      if (start && before?.candidate === candidate) before.energies.push([])
      else {
        const course = { candidate, energies: [[]], right: false }
        this.bySlot.set(slot, course)
        this.courses.push(course)
      }
    }
    return this.engine.begin(rows)
  }

  async descend(rows: readonly DescendRow[]) {
    const results = await this.engine.descend(rows)
    const read = await this.engine.read(rows.map(({ slot }) => ({ slot, which: 'best', top: 1 })))
    rows.forEach(({ slot }, i) => {
      const course = this.bySlot.get(slot)
      const energy = results[i]?.energy
      if (!course || energy === undefined) throw new RangeError(`slot ${slot} is not recorded`)
      course.energies.at(-1)?.push(Number(energy.toPrecision(DIGITS)))
      course.right = this.solution.every((token, position) => read[i]?.tokens[position] === token)
    })
    return results
  }

  energy(rows: readonly EnergyRow[]) {
    return this.engine.energy(rows)
  }

  read(rows: readonly ReadRow[]) {
    return this.engine.read(rows)
  }

  points(rows: readonly PointRow[]) {
    return this.engine.points(rows)
  }

  async save(slot: number) {
    const state = await this.engine.save(slot)
    const course = this.bySlot.get(slot)
    if (course) this.byState.set(state, course)
    return state
  }

  restore(slot: number, contextId: number, state: Uint8Array) {
    const course = this.byState.get(state)
    if (course) this.bySlot.set(slot, course)
    return this.engine.restore(slot, contextId, state)
  }

  release(contextId: number) {
    this.engine.release(contextId)
  }

  memory() {
    return this.engine.memory()
  }

  close() {
    return this.engine.close()
  }
}

const ROWS = [1, 2, 4, 8, 16, 32, 48]
const REPEATS = 15

/** Seconds of the engine's calls, the fastest of several, since other programs only make them longer. The engine has no context afterwards. */
async function timeOf(engine: EnergyEngine, tokenizer: Tokenizer): Promise<Timing> {
  const { bos } = tokenizer
  const { example = '' } = engine.model.template ?? {}
  const template = parseTemplate(example, engine.model, tokenizer)
  const context = { contextId: 0, tokens: bos === undefined ? [] : [bos], pages: [0] }
  const begin = (slot: number) => ({
    slot,
    contextId: 0,
    seed: 1,
    candidate: slot,
    clamped: template,
  })
  await engine.observe([context])
  await engine.begin(Array.from({ length: SLOTS }, (_, slot) => begin(slot)))
  const call = async (verb: () => unknown): Promise<number> => {
    const began = performance.now()
    await verb()
    return (performance.now() - began) / 1000
  }
  let next = 0
  const step = async (rows: number): Promise<number> => {
    const at = { landscape: 0, noise: 0, step: next++ }
    return call(() => engine.descend(Array.from({ length: rows }, (_, slot) => ({ slot, ...at }))))
  }
  const fastest = async (verb: () => Promise<number>): Promise<number> => {
    await verb()
    const seconds: number[] = []
    for (let i = 0; i < REPEATS; i++) seconds.push(await verb())
    return Math.min(...seconds)
  }
  const steps: { rows: number; seconds: number }[] = []
  for (const rows of ROWS) steps.push({ rows, seconds: await fastest(() => step(rows)) })
  // As many at a time as in a step that moves all, since what they allocate costs time too.
  const states: Uint8Array[] = []
  const save = await fastest(() =>
    call(async () => {
      for (let slot = 0; slot < SLOTS; slot++) states[slot] = await engine.save(slot)
    }),
  )
  const restore = await fastest(() =>
    call(async () => {
      for (const [slot, state] of states.entries()) await engine.restore(slot, 0, state)
    }),
  )
  const answer = await fastest(() =>
    call(async () => {
      await engine.observe([{ ...context, from: 0 }])
      await engine.begin([begin(0)])
      await engine.read([{ slot: 0, which: 'best', top: 1 }])
    }),
  )
  engine.release(0)
  return { step: steps, move: (save + restore) / 2 / SLOTS, answer }
}

export async function record(options: RecordOptions): Promise<void> {
  const { directory, easy, hard, hardest, hardestCount, most, out } = options
  const tokenizer = openTokenizer(directory)
  const capacity = { slots: SLOTS, contexts: SLOTS, pages: 16 * SLOTS }
  const real = await openEngine({ directory, engine: 'native', threads: 1, ...capacity })
  const engine = new RecordingEngine(real)
  const limits = { prefillChunk: 512, holdSeconds: 0, pauseSeconds: 1 }
  const core = new EngineCore(engine, tokenizer, limits)
  const draw = (count: number, { max, min, seed }: typeof EASY) => [
    ...drawExamples(sudokuTask({ size: 9, givens: { min, max } }), { count, seed }),
  ]
  const collected = hardest === undefined ? [] : puzzlesOf(hardest, hardestCount)
  const examples = [
    ...draw(easy, EASY).map((example) => ({ ...example, level: 'easy' as const })),
    ...draw(hard, HARD).map((example) => ({ ...example, level: 'hard' as const })),
    ...collected.map((example) => ({ ...example, level: 'hardest' as const })),
  ]
  const search = budgetOf(real.model, {
    reasoning_effort: 'xhigh',
    refinement: { max_steps: most },
  })
  // A recording that was interrupted goes on where it stood; one of other weights begins anew.
  const identity = Buffer.from(real.identity).toString('hex')
  const found = existsSync(out) ? readRecording(out) : undefined
  const before = found?.most === most && found.identity === identity ? found : undefined
  const known = new Map(before?.boards.map((each) => [each.template, each]))
  const recording: Recording = {
    model: real.model.name,
    identity,
    engine: `${real.info.name}, ${real.info.backend}, ${real.info.threads} thread`,
    machine: cpus()[0]?.model ?? 'unknown',
    commit: execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8' }).trim(),
    most,
    keep: EQUAL_CANDIDATES,
    timing: before?.timing ?? (await timeOf(real, tokenizer)),
    boards: [],
  }
  const boards: RecordedBoard[] = []
  for (const [i, { completion, level, template }] of examples.entries()) {
    const recorded = known.get(template)
    if (recorded) {
      boards.push(recorded)
      continue
    }
    const searched = await searchOf(
      core,
      engine,
      tokenizer,
      { completion, seed: i, template },
      search,
    )
    boards.push({ template, completion, level, seed: i, ...searched })
    writeFileSync(out, linesOf({ ...recording, boards }))
    console.error(`${i + 1} of ${examples.length}: ${searched.descents.length} descents`)
  }
  await real.close()
}

async function searchOf(
  core: EngineCore,
  engine: RecordingEngine,
  tokenizer: Tokenizer,
  { completion, seed, template }: Pick<RecordedBoard, 'completion' | 'seed' | 'template'>,
  search: Budget,
): Promise<Pick<RecordedBoard, 'descents' | 'equal'>> {
  engine.courses = []
  engine.solution = tokenizer.encode(completion)
  await settle(core, boardRequest('search', template, seed, search, 'record'))
  const descents = descentsOf(engine.courses)
  const equal: RecordedBoard['equal'][number][] = []
  for (const steps of EQUAL_STEPS) {
    const budget = budgetOf(engine.model, { refinement: equalSteps(steps) })
    const { text } = await settle(core, boardRequest('equal', template, seed, budget, 'record'))
    equal.push({ steps, right: text === completion })
  }
  return { descents, equal }
}

/** Measures the times of a recording again, on a machine that does nothing else. */
export async function recordTiming(directory: string, path: string): Promise<void> {
  const capacity = { slots: SLOTS, contexts: SLOTS, pages: 16 * SLOTS }
  const engine = await openEngine({ directory, engine: 'native', threads: 1, ...capacity })
  const timing = await timeOf(engine, openTokenizer(directory))
  const machine = cpus()[0]?.model ?? 'unknown'
  writeFileSync(path, linesOf({ ...readRecording(path), machine, timing }))
  await engine.close()
}

/** The first puzzles of a collection. */
function puzzlesOf(path: string, count: number): TaskExample[] {
  const lines = readFileSync(path, 'utf8').trim().split('\n').slice(0, count)
  return lines.map((line) => {
    const read = readPuzzleLine(line)
    if ('reason' in read) throw new RangeError(`${path}: ${line}: ${read.reason}`)
    return read.example
  })
}

/** In the order of their numbers, which is that in which they begin; without those that took no step. */
const descentsOf = (courses: readonly Course[]): RecordedDescent[] =>
  courses
    .filter(({ energies }) => energies[0]?.length !== 0)
    .sort((a, b) => a.candidate - b.candidate)
    .map(({ energies, right }) => ({ energies, right }))

/** One board a line. */
function linesOf({ boards, ...others }: Recording): string {
  const head = JSON.stringify(others, null, 1).replace(/\n\}$/, ',')
  return `${head}\n "boards": [\n${boards.map((board) => JSON.stringify(board)).join(',\n')}\n]}\n`
}

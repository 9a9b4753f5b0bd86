/** What is asked of a fleet: kinds of requests, who asks, and for which board. */
import type { ModelConfig } from '../../src/model/config.js'
import type { Budget } from '../../src/refine/budget.js'
import { Draws } from '../../src/train/tasks/draws.js'
import { type Level, levels, type RecordedBoard } from './recording.js'
import { type Ask, budgetOf } from './searching.js'

/** A kind of request, as a mix lists it. */
export interface KindSpec extends Ask {
  name: string
  /** Of all requests; the shares of a mix are divided by their sum. */
  share: number
  /** Shares of the boards, by level. */
  levels: Partial<Record<Level, number>>
  /** Its client does not wait for it on a connection: it queues for all replicas and outlives them. */
  background?: boolean
  /** Of background requests: lower numbers are taken first. Absent: 0. */
  priority?: number
  /**
   * All answers take so many steps, in eight descents from noise that nothing ends: one of the numbers that were
   * recorded. In place of a budget.
   */
  equal?: number
}

export interface Kind extends KindSpec {
  budget: Budget
}

/** Short and long, waited for and in the background. */
export const mixedKinds: readonly KindSpec[] = [
  { name: 'medium', share: 45, levels: { easy: 0.9, hard: 0.1 }, reasoning_effort: 'medium' },
  { name: 'high', share: 25, levels: { easy: 0.4, hard: 0.6 }, reasoning_effort: 'high' },
  { name: 'xhigh', share: 20, levels: { hard: 0.4, hardest: 0.6 }, reasoning_effort: 'xhigh' },
  {
    name: 'ten seconds',
    share: 6,
    levels: { hardest: 1 },
    background: true,
    reasoning_effort: 'xhigh',
    refinement: { max_steps: null, max_seconds: 10 },
  },
  {
    name: 'deep',
    share: 4,
    levels: { hardest: 1 },
    background: true,
    priority: 1,
    reasoning_effort: 'xhigh',
  },
]

export const kindOf = (model: ModelConfig, spec: KindSpec): Kind => {
  const { equal } = spec
  const asked = equal === undefined ? spec : { refinement: equalSteps(equal) }
  return { ...spec, budget: budgetOf(model, asked) }
}

/** Descents at a time of `KindSpec.equal`. */
export const EQUAL_CANDIDATES = 8

export const equalSteps = (steps: number): NonNullable<Ask['refinement']> => ({
  candidates: EQUAL_CANDIDATES,
  max_steps: steps / EQUAL_CANDIDATES,
  noise: 1,
  noise_steps: 1,
})

/** Where a request goes on when its replica is gone. */
export interface Kept {
  /** Steps of all its candidates until then. */
  steps: number
  /** For `EngineRequest.from`; undefined where a simulation goes by numbers alone. */
  thought?: Uint8Array
}

export interface SimulatedRequest {
  readonly id: number
  readonly kind: Kind
  readonly client: string
  /** Index among the recorded boards. */
  readonly board: number
  readonly arrivedAt: number
  /** When its present replica got it. */
  dispatchedAt: number
  /** From its arrival to its admission, without the rest of the step in which it came; undefined before that. */
  queueSeconds: number | undefined
  kept: Kept | undefined
  /** Replicas that had it before. */
  moves: number
}

const WORKLOAD_STREAM = 8
/** Exponent of the clients' shares: client k asks 1 / k^1.1 times as often as the first. */
const CLIENT_EXPONENT = 1.1

export class Workload {
  private readonly draws: Draws
  /** Indices of boards. */
  private readonly byLevel: Record<Level, readonly number[]>
  private readonly byClient: Float64Array
  private readonly byKind: Float64Array
  private made = 0

  constructor(
    private readonly kinds: readonly Kind[],
    boards: readonly RecordedBoard[],
    clients: number,
    seed: number,
  ) {
    this.draws = new Draws(seed, WORKLOAD_STREAM)
    const of = (level: Level) =>
      [...boards.keys()].filter((board) => boards[board]?.level === level)
    this.byLevel = { easy: of('easy'), hard: of('hard'), hardest: of('hardest') }
    this.byKind = sums(kinds.map(({ share }) => share))
    this.byClient = sums(Array.from({ length: clients }, (_, k) => (k + 1) ** -CLIENT_EXPONENT))
  }

  next(arrivedAt: number): SimulatedRequest {
    const kind = this.kinds[this.pick(this.byKind)] as Kind
    const level = levels[this.pick(sums(levels.map((each) => kind.levels[each] ?? 0)))] as Level
    const boards = this.byLevel[level]
    const board = boards[this.draws.below(boards.length)]
    if (board === undefined) throw new RangeError(`no board was recorded that is ${level}`)
    const client = `client ${this.pick(this.byClient)}`
    return newJob(this.made++, kind, client, board, arrivedAt)
  }

  /** An index, with the probability that its number adds to the sums. */
  private pick(upTo: Float64Array): number {
    const at = this.draws.share() * (upTo.at(-1) as number)
    let [low, high] = [0, upTo.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((upTo[middle] as number) > at) high = middle
      else low = middle + 1
    }
    return low
  }
}

export const newJob = (
  id: number,
  kind: Kind,
  client: string,
  board: number,
  arrivedAt: number,
): SimulatedRequest => ({
  id,
  kind,
  client,
  board,
  arrivedAt,
  dispatchedAt: arrivedAt,
  queueSeconds: undefined,
  kept: undefined,
  moves: 0,
})

function sums(parts: readonly number[]): Float64Array {
  let sum = 0
  return Float64Array.from(parts, (part) => (sum += part))
}

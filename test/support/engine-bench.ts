/** An engine core on the quadratic engine, driven by hand, with the events of each request collected. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Interrupt } from '../../src/energy/interrupt.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import type { EngineRequest, RequestEvent, Of, TickStats } from '../../src/generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../../src/generation/settled-answers.js'
import type { Budget } from '../../src/refine/budget.js'
import type { Sampling } from '../../src/refine/sampling.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import { LateEngine } from './late-engine.js'
import { QuadraticEngine, type QuadraticOptions } from './quadratic-engine.js'

export const alphabet = 'abcdefghijklmnopqrstuvwxyz '
export const END = '<|endoftext|>'

export const characterDescriptor = (bos: boolean) => ({
  format: 'basin-tokenizer/1',
  kind: 'characters',
  alphabet: Array.from(alphabet),
  special: { [END]: alphabet.length },
  ...(bos && { bos: END }),
})

export function letters(bos = true): Tokenizer {
  const directory = mkdtempSync(join(tmpdir(), 'basin-letters-'))
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(characterDescriptor(bos)))
  const tokenizer = openTokenizer(directory)
  rmSync(directory, { recursive: true })
  return tokenizer
}

export const greedy: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  seed: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: {},
}

export const budget = (overrides: Partial<Budget> = {}): Budget => ({
  maxSteps: 4,
  minSteps: 0,
  patience: 3,
  candidates: 1,
  select: 'min',
  noise: 0,
  keep: 'best',
  acceptLower: false,
  ...overrides,
})

/** A budget without a limit on steps. */
export function unbounded(overrides: Partial<Budget> = {}): Budget {
  const limits = budget(overrides)
  delete limits.maxSteps
  return limits
}

export const requestOf = (id: string, overrides: Partial<EngineRequest> = {}): EngineRequest => ({
  id,
  client: 'someone',
  prompt: 'once upon a time',
  maxTokens: 8,
  sampling: greedy,
  stop: [],
  budget: budget(),
  reportSteps: false,
  hold: false,
  ...overrides,
})

export interface BenchOptions extends QuadraticOptions {
  prefillChunk?: number
  holdSeconds?: number
  pauseSeconds?: number
  sharePrefixes?: boolean
  tokenizer?: Tokenizer
  /** A step of a batch takes so long, so that a call of several can be planned. Absent: no time. */
  stepSeconds?: number
  interrupt?: Interrupt
  /** The engine answers later, not at once. */
  late?: boolean
}

/** Both ways in which an engine may answer. */
export const enginesInTime = [
  { when: 'at once', late: false },
  { when: 'later', late: true },
]

/** An engine core, its engine, and a clock that moves a millisecond per step. */
export class EngineBench {
  readonly engine: QuadraticEngine
  readonly core: EngineCore
  readonly events = new Map<string, RequestEvent[]>()
  readonly released: string[] = []
  seconds = 0
  stats: TickStats | undefined
  private watcher: (stats: TickStats) => void = () => undefined

  constructor(options: BenchOptions = {}) {
    this.engine = new QuadraticEngine(options)
    this.core = new EngineCore(
      options.late ? new LateEngine(this.engine) : this.engine,
      options.tokenizer ?? letters(),
      {
        prefillChunk: options.prefillChunk ?? 32,
        holdSeconds: options.holdSeconds ?? 60,
        pauseSeconds: options.pauseSeconds ?? 60,
        sharePrefixes: options.sharePrefixes ?? true,
        ...(options.interrupt && { interrupt: options.interrupt }),
      },
      () => this.seconds,
    )
    if (options.stepSeconds !== undefined) this.slow(options.stepSeconds)
  }

  private slow(stepSeconds: number): void {
    const { engine } = this
    const descend = engine.descend.bind(engine)
    engine.descend = (rows, interrupt) => {
      const results = descend(rows, interrupt)
      const [first] = rows
      const rounds = rows.filter(({ slot }, i) => slot === first?.slot && i < results.length)
      this.seconds += stepSeconds * rounds.length
      return results
    }
  }

  async step(): Promise<boolean> {
    this.seconds += 0.001
    const more = await this.core.step()
    this.collect()
    return more
  }

  async steps(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.step()
  }

  collect(): TickStats {
    const { events, released, stats } = this.core.report()
    for (const { id, event } of events) {
      const list = this.events.get(id) ?? []
      list.push(event)
      this.events.set(id, list)
    }
    this.released.push(...released)
    this.stats = stats
    this.watcher(stats)
    return stats
  }

  /** Is called with the account of every step. */
  watch(watcher: (stats: TickStats) => void): void {
    this.watcher = watcher
  }

  /** Steps until there is nothing to do. */
  async settle(most = 10_000): Promise<this> {
    for (let i = 0; i < most; i++) if (!(await this.step())) return this
    throw new Error(`still busy after ${most} steps`)
  }

  run(...requests: EngineRequest[]): Promise<this> {
    for (const request of requests) this.core.submit(request)
    return this.settle()
  }

  of<T extends RequestEvent['type']>(id: string, type: T): Of<T>[] {
    return (this.events.get(id) ?? []).filter((event): event is Of<T> => event.type === type)
  }

  /** The answers of a request that have settled so far. */
  settled(id: string): SettledAnswer[] {
    return this.of(id, 'settled').flatMap(settledAnswers)
  }

  finished(id: string): Of<'finished'> {
    const last = this.of(id, 'finished').at(-1)
    if (!last) throw new Error(`${id} has not finished: ${JSON.stringify(this.events.get(id))}`)
    return last
  }
}

/**
 * Who has which slots and pages, and what each tick does: integers only. Knows no tensor, no text,
 * no energy and no clock.
 *
 * Admission reserves all that a request may need, its pages up to its last position included, so
 * what was admitted always runs to its end: nothing is preempted. Clients take turns; a request
 * that does not fit yet keeps its turn, so that wide ones are not starved by narrow ones.
 */
import { BasinError } from '../errors.js'
import { fairShares } from './batch.js'
import { PagePool } from './pages.js'
import { FairQueue } from './queue.js'

export interface Capacity {
  slots: number
  sequences: number
  pages: number
  pageSize: number
}

export interface Request {
  client: string
  /** Tokens to observe before the first answer. */
  prompt: number
  /** The most positions that its context and answers take together. */
  positions: number
  /** M: slots it needs. */
  candidates: number
}

/** An admitted request. */
export interface Sequence {
  readonly ticket: number
  /** The engine's index of the context. */
  readonly sequence: number
  /** One per candidate. */
  readonly slots: readonly number[]
  readonly pages: readonly number[]
}

export interface ObserveRange extends Sequence {
  /** Tokens [from, to) of the context; empty only for a context that begins without tokens. */
  from: number
  to: number
}

export interface DescendingRow {
  ticket: number
  candidate: number
  slot: number
}

/** What one tick does, in this order. */
export interface Plan {
  /** Held sequences that had to give way. */
  evicted: readonly Sequence[]
  admitted: readonly Sequence[]
  observe: readonly ObserveRange[]
  /** Their context is complete: their answers begin, and are among the rows that descend. */
  begin: readonly Sequence[]
  descend: readonly DescendingRow[]
}

interface Waiting {
  ticket: number
  request: Request
  paused: boolean
}

interface Admitted extends Sequence {
  phase: 'observing' | 'refining' | 'held'
  paused: boolean
  /** Tokens of the context that the engine has seen, and that it has to see before the next answer. */
  observed: number
  target: number
  prompt: number
  /** The engine knows this context, if only as an empty one. */
  opened: boolean
  /** Candidates still in descent. */
  moving: Set<number>
}

export class Scheduler {
  private readonly queue = new FairQueue<Waiting>()
  /** In order of admission. */
  private readonly running = new Map<number, Admitted>()
  /** Tickets, oldest first. */
  private readonly held = new Set<number>()
  private readonly pool: PagePool
  private readonly freeSlots: number[]
  private readonly freeSequences: number[]
  private nextTicket = 0

  constructor(
    private readonly capacity: Capacity,
    private readonly prefillChunk: number,
  ) {
    this.pool = new PagePool(capacity.pages)
    this.freeSlots = Array.from({ length: capacity.slots }, (_, i) => capacity.slots - 1 - i)
    this.freeSequences = Array.from(
      { length: capacity.sequences },
      (_, i) => capacity.sequences - 1 - i,
    )
  }

  get waiting(): number {
    return this.queue.size
  }

  get counts(): { running: number; paused: number; held: number } {
    let paused = 0
    for (const { paused: is, phase } of this.running.values()) if (is && phase !== 'held') paused++
    const held = this.held.size
    return { running: this.running.size - held - paused, paused, held }
  }

  get slotsUsed(): number {
    return this.capacity.slots - this.freeSlots.length
  }

  get pagesUsed(): number {
    return this.pool.used
  }

  get sequencesUsed(): number {
    return this.capacity.sequences - this.freeSequences.length
  }

  /** Queues a request. Throws `out_of_range` when it could not even run alone. */
  submit(request: Request): number {
    const { slots, pages, pageSize } = this.capacity
    if (request.candidates > slots) {
      throw new BasinError('out_of_range', {
        param: 'refinement.candidates',
        bound: `at most the ${slots} slots of the engine`,
        value: request.candidates,
      })
    }
    if (this.pagesFor(request) > pages) {
      throw new BasinError('out_of_range', {
        param: 'max_tokens',
        bound: `such that prompt and answer fit the ${pages * pageSize} positions of the cache`,
        value: request.positions - request.prompt,
      })
    }
    const ticket = this.nextTicket++
    this.queue.push(request.client, { ticket, request, paused: false })
    return ticket
  }

  plan(): Plan {
    const { admitted, evicted } = this.admit()
    const active = [...this.running.values()].filter(
      ({ paused, phase }) => !paused && phase !== 'held',
    )
    const observe = this.observe(active.filter(({ phase }) => phase === 'observing'))
    const begin = active.filter(
      (s) => s.phase === 'observing' && s.opened && s.observed === s.target,
    )
    for (const sequence of begin) {
      sequence.phase = 'refining'
      sequence.moving = new Set(sequence.slots.keys())
    }
    const descend = active.flatMap((s) =>
      s.phase === 'refining'
        ? [...s.moving].map((candidate) => ({
            ticket: s.ticket,
            candidate,
            slot: s.slots[candidate] as number,
          }))
        : [],
    )
    return { evicted, admitted, observe, begin, descend }
  }

  /** A candidate has settled or failed: its row leaves the batch. */
  rest(ticket: number, candidate: number): void {
    this.admittedAs(ticket).moving.delete(candidate)
  }

  /** All candidates of an answer, held or not, move again. */
  reopen(ticket: number): void {
    const sequence = this.admittedAs(ticket)
    this.held.delete(ticket)
    sequence.phase = 'refining'
    sequence.moving = new Set(sequence.slots.keys())
  }

  /** The answer is settled: `tokens` more are observed before the next one begins. */
  commit(ticket: number, tokens: number): void {
    const sequence = this.admittedAs(ticket)
    sequence.phase = 'observing'
    sequence.target += tokens
    sequence.moving.clear()
  }

  /** Keeps slots and pages of a finished sequence until somebody needs them. */
  hold(ticket: number): void {
    const sequence = this.admittedAs(ticket)
    sequence.phase = 'held'
    sequence.moving.clear()
    this.held.add(ticket)
  }

  /** A paused request keeps its place, its slots and its pages, and takes no part. */
  pause(ticket: number, paused: boolean): void {
    const waiting = this.queue.find((item) => item.ticket === ticket)
    if (waiting) waiting.paused = paused
    else this.admittedAs(ticket).paused = paused
  }

  /** Gives everything back at once; returns what the engine has to release, if it was admitted. */
  release(ticket: number): Sequence | undefined {
    if (this.queue.remove((item) => item.ticket === ticket)) return undefined
    const sequence = this.admittedAs(ticket)
    this.running.delete(ticket)
    this.held.delete(ticket)
    this.freeSlots.push(...sequence.slots)
    this.freeSequences.push(sequence.sequence)
    this.pool.give(sequence.pages)
    return sequence
  }

  private pagesFor(request: Request): number {
    return Math.ceil(request.positions / this.capacity.pageSize)
  }

  private admittedAs(ticket: number): Admitted {
    const sequence = this.running.get(ticket)
    if (!sequence) throw new RangeError(`ticket ${ticket} is not admitted`)
    return sequence
  }

  private admit(): { admitted: Sequence[]; evicted: Sequence[] } {
    const admitted: Sequence[] = []
    const evicted: Sequence[] = []
    for (let next = this.queue.peek(); next; next = this.queue.peek()) {
      const gone = this.makeRoom(next.request)
      if (!gone) break
      evicted.push(...gone)
      this.queue.take()
      const sequence = this.place(next)
      this.running.set(sequence.ticket, sequence)
      admitted.push(sequence)
    }
    return { admitted, evicted }
  }

  /** Evicts held sequences, oldest first, only if that suffices. Undefined: it does not fit yet. */
  private makeRoom(request: Request): Sequence[] | undefined {
    let slots = this.freeSlots.length
    let sequences = this.freeSequences.length
    let pages = this.pool.available
    const giving: number[] = []
    const fits = () =>
      slots >= request.candidates && sequences >= 1 && pages >= this.pagesFor(request)
    for (const ticket of this.held) {
      if (fits()) break
      const sequence = this.admittedAs(ticket)
      slots += sequence.slots.length
      sequences += 1
      pages += sequence.pages.length
      giving.push(ticket)
    }
    if (!fits()) return undefined
    return giving.flatMap((ticket) => this.release(ticket) ?? [])
  }

  private place({ ticket, request, paused }: Waiting): Admitted {
    const sequence = this.freeSequences.pop()
    const pages = this.pool.take(this.pagesFor(request))
    if (sequence === undefined || !pages) throw new RangeError('admitted without room')
    return {
      ticket,
      sequence,
      slots: this.freeSlots.splice(this.freeSlots.length - request.candidates).reverse(),
      pages,
      phase: 'observing',
      paused,
      observed: 0,
      target: request.prompt,
      prompt: request.prompt,
      opened: false,
      moving: new Set(),
    }
  }

  /** Prompts share `prefillChunk` tokens of this tick; commits are short and observed whole. */
  private observe(sequences: readonly Admitted[]): ObserveRange[] {
    const prefilling = sequences.filter((s) => s.observed < s.prompt)
    const shares = fairShares(
      prefilling.map((s) => s.prompt - s.observed),
      this.prefillChunk,
    )
    const granted = new Map(prefilling.map((s, i) => [s.ticket, shares[i] as number]))
    return sequences.flatMap((s) => {
      const from = s.observed
      const to = from + (granted.get(s.ticket) ?? s.target - from)
      if (to === from && (s.opened || s.target > 0)) return []
      s.observed = to
      s.opened = true
      return [{ ticket: s.ticket, sequence: s.sequence, slots: s.slots, pages: s.pages, from, to }]
    })
  }
}

/**
 * Who has which slots and pages, and what each tick does: integers only. Knows no tensor, no text,
 * no energy and no clock.
 *
 * A request is admitted when its slots are free and its prompt fits; pages for what comes after it
 * takes as its context grows. When they run out, held answers give way, then paused requests, then
 * those admitted last: such a request is preempted. It keeps its slots and their states, and its
 * context is observed again when there is room, so it goes on where it was. Who was admitted first
 * always gets what it needs, so all come to their end. Clients take turns; a request that does not
 * fit yet keeps its turn, so that wide ones are not starved by narrow ones.
 */
import { BasinError } from '../errors.js'
import {
  admitted,
  awaitsToken,
  interrupt,
  isSettling,
  type AdmittedRequest,
} from './admitted-request.js'
import { fairShares } from './batch.js'
import { PageNames, PageTables } from './contexts.js'
import { PagePool } from './pages.js'
import type {
  CacheCounts,
  Capacity,
  ObserveRange,
  Plan,
  Request,
  ScheduledRequest,
} from './plan.js'
import { FairQueue } from './queue.js'

interface WaitingRequest {
  requestId: number
  request: Request
  paused: boolean
}

export class Scheduler {
  private readonly queue = new FairQueue<WaitingRequest>()
  /** In order of admission. */
  private readonly running = new Map<number, AdmittedRequest>()
  /** Tickets, oldest first. */
  private readonly held = new Set<number>()
  private readonly tables: PageTables
  private readonly freeSlots: number[]
  private readonly freeContexts: number[]
  private nextTicket = 0
  /** Somebody found no page in the last tick. */
  private short = false
  /** Of the tick that is being planned. */
  private evicted: ScheduledRequest[] = []
  private preempted: ScheduledRequest[] = []
  readonly cache: CacheCounts = { queries: 0, hits: 0, preemptions: 0 }

  constructor(
    private readonly capacity: Capacity,
    private readonly prefillChunk: number,
  ) {
    const { pages, pageSize, sharesPages } = capacity
    this.tables = new PageTables(new PagePool(pages), pageSize, sharesPages ?? false)
    this.freeSlots = Array.from({ length: capacity.slots }, (_, i) => capacity.slots - 1 - i)
    this.freeContexts = Array.from(
      { length: capacity.contexts },
      (_, i) => capacity.contexts - 1 - i,
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
    return this.tables.pool.used
  }

  get contextsUsed(): number {
    return this.capacity.contexts - this.freeContexts.length
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
    if (this.tables.pagesFor(request.positions) > pages) {
      throw new BasinError('out_of_range', {
        param: 'max_tokens',
        bound: `such that prompt and answer fit the ${pages * pageSize} positions of the cache`,
        value: request.positions - request.context.length,
      })
    }
    const requestId = this.nextTicket++
    this.queue.push(request.client, { requestId, request, paused: false })
    return requestId
  }

  plan(): Plan {
    this.evicted = []
    this.preempted = []
    const fitting = this.admit()
    const active = [...this.running.values()].filter(
      ({ paused, phase }) => !paused && phase !== 'held',
    )
    const observe = this.observe(active.filter(({ phase }) => phase === 'observing'))
    const complete = active.filter(
      (s) => s.phase === 'observing' && s.opened && s.observed === s.target,
    )
    const resumed = complete.filter(({ interrupted }) => interrupted)
    const begin = complete.filter(({ interrupted }) => !interrupted)
    for (const sequence of complete) sequence.phase = 'refining'
    for (const sequence of resumed) sequence.interrupted = false
    for (const sequence of begin) sequence.moving = new Set(sequence.slots.keys())
    const descend = active.flatMap((s) =>
      s.phase === 'refining'
        ? [...s.moving].map((candidate) => ({
            requestId: s.requestId,
            candidate,
            slot: s.slots[candidate] as number,
          }))
        : [],
    )
    const { evicted, preempted } = this
    return { evicted, admitted: fitting, preempted, resumed, observe, begin, descend }
  }

  /**
   * Up to `most` answers of one token that an admitted request can settle without another plan: it waits
   * for the token before, and nobody else for anything. Takes pages for them as far as they are free.
   */
  stride(requestId: number, most: number) {
    const sequence = this.running.get(requestId)
    if (!sequence || this.queue.size > 0 || !awaitsToken(sequence)) return undefined
    const { pages, observed: from, slots } = sequence
    const { pool } = this.tables
    const lacking = Math.min(this.tables.lacking(sequence, from + most), pool.available)
    pages.push(...(pool.take(lacking) ?? []))
    const answers = Math.min(most, pages.length * this.capacity.pageSize - from)
    return { contextId: sequence.contextId, slot: slots[0] as number, pages, from, answers }
  }

  /** The next of these answers is in descent, its token before observed. Returns its slots. */
  follow(requestId: number): readonly number[] {
    const sequence = this.admittedAs(requestId)
    this.tables.advance(sequence, sequence.target)
    sequence.phase = 'refining'
    return sequence.slots
  }

  /** Whether the engine holds the context of a running request, so that its answer can be judged. */
  isPresent(requestId: number): boolean {
    return !this.admittedAs(requestId).interrupted
  }

  /** What pages hold is not known any more: nothing that was observed is found again. */
  forgetPages(): void {
    this.tables.pool.forget()
  }

  /** A candidate has settled or failed: its row leaves the batch. */
  rest(requestId: number, candidate: number): void {
    this.admittedAs(requestId).moving.delete(candidate)
  }

  /** All candidates of an answer, held or not, move again. */
  reopen(requestId: number): void {
    const sequence = this.admittedAs(requestId)
    this.held.delete(requestId)
    sequence.phase = 'refining'
    sequence.moving = new Set(sequence.slots.keys())
  }

  /** The answer is settled: `tokens` more are observed before the next one begins. */
  commit(requestId: number, tokens: number): void {
    const sequence = this.admittedAs(requestId)
    sequence.phase = 'observing'
    sequence.target += tokens
    sequence.moving.clear()
  }

  /** Keeps slots and pages of a finished sequence until somebody needs them. */
  hold(requestId: number): void {
    const sequence = this.admittedAs(requestId)
    sequence.phase = 'held'
    sequence.moving.clear()
    this.held.add(requestId)
  }

  /** A paused request keeps its place, its slots and its pages, and takes no part. */
  pause(requestId: number, paused: boolean): void {
    const waiting = this.queue.find((item) => item.requestId === requestId)
    if (waiting) waiting.paused = paused
    else this.admittedAs(requestId).paused = paused
  }

  /** Gives everything back at once; returns what the engine has to release, if it was admitted. */
  release(requestId: number): ScheduledRequest | undefined {
    if (this.queue.remove((item) => item.requestId === requestId)) return undefined
    const sequence = this.admittedAs(requestId)
    this.running.delete(requestId)
    this.held.delete(requestId)
    this.freeSlots.push(...sequence.slots)
    this.freeContexts.push(sequence.contextId)
    this.tables.drop(sequence)
    return sequence
  }

  private admittedAs(requestId: number): AdmittedRequest {
    const sequence = this.running.get(requestId)
    if (!sequence) throw new RangeError(`requestId ${requestId} is not admitted`)
    return sequence
  }

  private admit(): ScheduledRequest[] {
    const fitting: ScheduledRequest[] = []
    if (this.short) return fitting
    for (let next = this.queue.peek(); next; next = this.queue.peek()) {
      if (!this.makeRoom(next.request)) break
      this.queue.take()
      const sequence = this.place(next)
      this.running.set(sequence.requestId, sequence)
      fitting.push(sequence)
    }
    return fitting
  }

  /** Pages for the context of a request, and to go on a little, that no other holds yet. */
  private pagesToBegin({ client, context, positions }: Request): number {
    const { tables } = this
    const most = Math.min(positions, context.length + this.capacity.pageSize)
    const names = new PageNames(client, context, this.capacity.pageSize)
    return tables.pagesFor(most) - tables.heldByOthers(names, context.length)
  }

  /** Evicts held sequences, oldest first, only if that suffices. False: it does not fit yet. */
  private makeRoom(request: Request): boolean {
    let slots = this.freeSlots.length
    let sequences = this.freeContexts.length
    let pages = this.tables.pool.available
    for (const s of this.running.values())
      if (s.phase === 'observing') pages -= this.tables.lacking(s, s.target)
    const giving: number[] = []
    const needed = this.pagesToBegin(request)
    const fits = () => slots >= request.candidates && sequences >= 1 && pages >= needed
    for (const requestId of this.held) {
      if (fits()) break
      const sequence = this.admittedAs(requestId)
      slots += sequence.slots.length
      sequences += 1
      pages += sequence.pages.length
      giving.push(requestId)
    }
    if (!fits()) return false
    for (const requestId of giving) this.evict(requestId)
    return true
  }

  private evict(requestId: number): void {
    const sequence = this.release(requestId)
    if (sequence) this.evicted.push(sequence)
  }

  private place({ requestId, request, paused }: WaitingRequest): AdmittedRequest {
    const { candidates, client, context, whole = false } = request
    const contextId = this.freeContexts.pop()
    if (contextId === undefined) throw new RangeError('admitted without room')
    if (this.tables.sharing && !whole) this.cache.queries += context.length
    const slots = this.freeSlots.splice(this.freeSlots.length - candidates).reverse()
    const names = new PageNames(client, context, this.capacity.pageSize)
    return admitted({ requestId, contextId, slots, paused, names, whole, prompt: context.length })
  }

  /** Prompts share `prefillChunk` tokens of this tick; commits are short and observed whole. */
  private observe(sequences: readonly AdmittedRequest[]): ObserveRange[] {
    this.short = false
    if (sequences.length === 0) return []
    for (const sequence of sequences) this.adopt(sequence)
    const prefilling = sequences.filter((s) => s.observed < s.prefill)
    const following = this.tables.following(prefilling)
    const shares = fairShares(
      prefilling.map((s, i) => (following[i] ? 0 : s.prefill - s.observed)),
      this.prefillChunk,
    )
    const granted = new Map(prefilling.map((s, i) => [s.requestId, shares[i] as number]))
    return sequences.flatMap((s) => {
      if (this.preempted.includes(s)) return []
      // What the one that it follows observes in this very tick.
      this.adopt(s)
      const from = s.observed
      const asked = Math.min(s.target, from + (granted.get(s.requestId) ?? s.target - from))
      const to = this.cover(s, this.tables.whole(s, asked))
      if (to === from && (s.opened || s.target > 0)) return []
      this.tables.advance(s, to)
      s.opened = true
      return [
        {
          requestId: s.requestId,
          contextId: s.contextId,
          slots: s.slots,
          pages: s.pages,
          from,
          to,
        },
      ]
    })
  }

  private adopt(s: AdmittedRequest): void {
    const tokens = this.tables.adopt(s)
    if (!s.again) this.cache.hits += tokens
  }

  /** Takes pages for the context up to `to`, or as far as there are any; returns how far. */
  private cover(s: AdmittedRequest, to: number): number {
    const { pool } = this.tables
    const lacking = this.tables.lacking(s, to)
    while (pool.available < lacking && this.makeWay(s));
    const count = Math.min(lacking, pool.available)
    if (count < lacking) this.short = true
    s.pages.push(...(pool.take(count) ?? []))
    return Math.min(to, Math.max(s.observed, s.pages.length * this.capacity.pageSize))
  }

  /** Somebody gives up pages for `needy`. False: nobody is left who would. */
  private makeWay(needy: AdmittedRequest): boolean {
    for (const requestId of this.held) {
      this.evict(requestId)
      return true
    }
    const all = [...this.running.values()]
    const younger = all.slice(all.indexOf(needy) + 1)
    const gives = (s: AdmittedRequest) => s.pages.length > 0 && !isSettling(s)
    const victim =
      all.findLast((s) => s !== needy && s.paused && gives(s)) ?? younger.findLast(gives)
    if (!victim) return false
    this.preempt(victim)
    return true
  }

  private preempt(s: AdmittedRequest): void {
    this.tables.drop(s)
    interrupt(s)
    this.preempted.push(s)
    this.cache.preemptions++
  }
}

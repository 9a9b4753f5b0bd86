/**
 * Decides which requests have slots and pages, and what each step does. Integers only: it knows no
 * tensor, no text, no energy and no clock.
 *
 * A request is admitted when its slots are free and its prompt fits into the cache. It takes further
 * pages as its context grows. When pages run out, held answers are evicted first; then paused requests,
 * and then those admitted last, are preempted. A preempted request keeps its slots and the states in
 * them; its context is observed again when there is room, and it goes on where it was. The request
 * admitted first always gets what it needs, so every request ends. Clients take turns. A request that
 * does not fit yet keeps its turn, so narrow requests cannot starve wide ones.
 */
import { BasinError } from '../errors.js'
import {
  awaitsLastToken,
  isSettling,
  newAdmittedRequest,
  restartObservation,
  type AdmittedRequest,
} from './admitted-request.js'
import { FairQueue } from './fair-queue.js'
import { fairShares } from './fair-shares.js'
import { PagePool } from './page-pool.js'
import { PageNames, PageTables } from './page-tables.js'
import type {
  CacheCounts,
  Capacity,
  ObserveRange,
  Plan,
  RequestNeeds,
  ScheduledRequest,
} from './plan.js'

interface WaitingRequest {
  requestId: number
  needs: RequestNeeds
  paused: boolean
}

export class Scheduler {
  private readonly queue = new FairQueue<WaitingRequest>()
  /** In order of admission. */
  private readonly running = new Map<number, AdmittedRequest>()
  /** Ids of finished requests whose answers are kept, oldest first. */
  private readonly held = new Set<number>()
  private readonly tables: PageTables
  private readonly freeSlots: number[]
  private readonly freeContexts: number[]
  private nextRequestId = 0
  /** In the last step a request could not get a page. */
  private pagesRanOut = false
  /** Collected while a step is planned. */
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
    for (const request of this.running.values())
      if (request.paused && request.phase !== 'held') paused++
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

  /** Queues a request and returns its id. Throws `out_of_range` when it could not run even alone. */
  submit(needs: RequestNeeds): number {
    const { slots, pages, pageSize } = this.capacity
    if (needs.candidates > slots) {
      throw new BasinError('out_of_range', {
        param: 'refinement.candidates',
        bound: `at most the ${slots} slots of the engine`,
        value: needs.candidates,
      })
    }
    if (this.tables.pagesFor(needs.positions) > pages) {
      throw new BasinError('out_of_range', {
        param: 'max_tokens',
        bound: `low enough that prompt and answer fit the ${pages * pageSize} positions of the cache`,
        value: needs.positions - needs.context.length,
      })
    }
    const requestId = this.nextRequestId++
    this.queue.push(needs.client, { requestId, needs, paused: false })
    return requestId
  }

  /** Plans the next step. */
  schedule(): Plan {
    this.evicted = []
    this.preempted = []
    const newlyAdmitted = this.admit()
    const active = [...this.running.values()].filter(
      ({ paused, phase }) => !paused && phase !== 'held',
    )
    const observe = this.observe(active.filter(({ phase }) => phase === 'observing'))
    const complete = active.filter(
      ({ phase, opened, observed, target }) =>
        phase === 'observing' && opened && observed === target,
    )
    const resumed = complete.filter(({ resumesAnswer }) => resumesAnswer)
    const begin = complete.filter(({ resumesAnswer }) => !resumesAnswer)
    for (const request of complete) request.phase = 'refining'
    for (const request of resumed) request.resumesAnswer = false
    for (const request of begin) request.moving = new Set(request.slots.keys())
    const descend = active.flatMap(({ phase, moving, requestId, slots }) =>
      phase === 'refining'
        ? [...moving].map((candidate) => ({
            requestId,
            candidate,
            slot: slots[candidate] as number,
          }))
        : [],
    )
    const { evicted, preempted } = this
    return { evicted, admitted: newlyAdmitted, preempted, resumed, observe, begin, descend }
  }

  /**
   * How many answers of one token, at most `most`, a request may settle in one call of the engine: it
   * needs nothing but its last token, and no other request waits. Takes free pages for these answers.
   */
  stride(requestId: number, most: number) {
    const request = this.running.get(requestId)
    if (!request || this.queue.size > 0 || !awaitsLastToken(request)) return undefined
    const { pages, observed: from, slots } = request
    const { pool } = this.tables
    const lacking = Math.min(this.tables.lacking(request, from + most), pool.available)
    pages.push(...(pool.take(lacking) ?? []))
    const answers = Math.min(most, pages.length * this.capacity.pageSize - from)
    return { contextId: request.contextId, slot: slots[0] as number, pages, from, answers }
  }

  /** The next of these answers is in descent; the token before it is observed. Returns its slots. */
  follow(requestId: number): readonly number[] {
    const request = this.admittedRequest(requestId)
    this.tables.advance(request, request.target)
    request.phase = 'refining'
    return request.slots
  }

  /** Whether the engine holds the context of a running request; without it no energy can be computed. */
  isPresent(requestId: number): boolean {
    return !this.admittedRequest(requestId).resumesAnswer
  }

  /** Forgets what pages contain, so that no later context shares them (after a failed call). */
  forgetPages(): void {
    this.tables.pool.forget()
  }

  /** A candidate has stopped or failed: its row leaves the batch. */
  rest(requestId: number, candidate: number): void {
    this.admittedRequest(requestId).moving.delete(candidate)
  }

  /** All candidates of an answer descend again, whether it was held or not. */
  reopen(requestId: number): void {
    const request = this.admittedRequest(requestId)
    this.held.delete(requestId)
    request.phase = 'refining'
    request.moving = new Set(request.slots.keys())
  }

  /** The answer is settled: its `tokens` tokens are observed before the next answer begins. */
  commit(requestId: number, tokens: number): void {
    const request = this.admittedRequest(requestId)
    request.phase = 'observing'
    request.target += tokens
    request.moving.clear()
  }

  /** Keeps slots and pages of a finished request until another request needs them. */
  hold(requestId: number): void {
    const request = this.admittedRequest(requestId)
    request.phase = 'held'
    request.moving.clear()
    this.held.add(requestId)
  }

  /** A paused request keeps its place in the queue, or its slots and pages, and takes part in no step. */
  pause(requestId: number, paused: boolean): void {
    const waiting = this.queue.find((item) => item.requestId === requestId)
    if (waiting) waiting.paused = paused
    else this.admittedRequest(requestId).paused = paused
  }

  /** Frees all that a request has; returns what the engine must release, if the request was admitted. */
  release(requestId: number): ScheduledRequest | undefined {
    if (this.queue.remove((item) => item.requestId === requestId)) return undefined
    const request = this.admittedRequest(requestId)
    this.running.delete(requestId)
    this.held.delete(requestId)
    this.freeSlots.push(...request.slots)
    this.freeContexts.push(request.contextId)
    this.tables.drop(request)
    return request
  }

  private admittedRequest(requestId: number): AdmittedRequest {
    const request = this.running.get(requestId)
    if (!request) throw new RangeError(`request ${requestId} is not admitted`)
    return request
  }

  private admit(): ScheduledRequest[] {
    const newlyAdmitted: ScheduledRequest[] = []
    if (this.pagesRanOut) return newlyAdmitted
    for (let next = this.queue.peek(); next; next = this.queue.peek()) {
      if (!this.makeRoom(next.needs)) break
      this.queue.take()
      const request = this.allocate(next)
      this.running.set(request.requestId, request)
      newlyAdmitted.push(request)
    }
    return newlyAdmitted
  }

  /** Pages that must be available at admission: for the context and one page more, without those it can share. */
  private pagesToBegin({ client, context, positions }: RequestNeeds): number {
    const { tables } = this
    const most = Math.min(positions, context.length + this.capacity.pageSize)
    const names = new PageNames(client, context, this.capacity.pageSize)
    return tables.pagesFor(most) - tables.heldByOthers(names, context.length)
  }

  /** Evicts held answers, oldest first, if that makes the request fit. False: it does not fit yet. */
  private makeRoom(needs: RequestNeeds): boolean {
    let slots = this.freeSlots.length
    let contexts = this.freeContexts.length
    let pages = this.tables.pool.available
    for (const request of this.running.values())
      if (request.phase === 'observing') pages -= this.tables.lacking(request, request.target)
    const evicted: number[] = []
    const needed = this.pagesToBegin(needs)
    const fits = () => slots >= needs.candidates && contexts >= 1 && pages >= needed
    for (const requestId of this.held) {
      if (fits()) break
      const request = this.admittedRequest(requestId)
      slots += request.slots.length
      contexts += 1
      pages += request.pages.length
      evicted.push(requestId)
    }
    if (!fits()) return false
    for (const requestId of evicted) this.evict(requestId)
    return true
  }

  private evict(requestId: number): void {
    const request = this.release(requestId)
    if (request) this.evicted.push(request)
  }

  private allocate({ requestId, needs, paused }: WaitingRequest): AdmittedRequest {
    const { candidates, client, context, whole = false } = needs
    const contextId = this.freeContexts.pop()
    if (contextId === undefined) throw new RangeError('admitted without room')
    if (this.tables.sharing && !whole) this.cache.queries += context.length
    const slots = this.freeSlots.splice(this.freeSlots.length - candidates).reverse()
    const names = new PageNames(client, context, this.capacity.pageSize)
    return newAdmittedRequest({
      requestId,
      contextId,
      slots,
      paused,
      names,
      whole,
      prompt: context.length,
    })
  }

  /** Prompts share the `prefillChunk` tokens of this step; settled answers are short and observed whole. */
  private observe(requests: readonly AdmittedRequest[]): ObserveRange[] {
    this.pagesRanOut = false
    if (requests.length === 0) return []
    for (const request of requests) this.adopt(request)
    const prefilling = requests.filter(({ observed, prefill }) => observed < prefill)
    const waits = this.tables.awaitOthersPage(prefilling)
    const shares = fairShares(
      prefilling.map(({ observed, prefill }, i) => (waits[i] ? 0 : prefill - observed)),
      this.prefillChunk,
    )
    const granted = new Map(prefilling.map(({ requestId }, i) => [requestId, shares[i] as number]))
    return requests.flatMap((request) => {
      if (this.preempted.includes(request)) return []
      // Pages that an earlier request of this list fills in this step can be shared already.
      this.adopt(request)
      const { contextId, observed: from, pages, requestId, slots, target } = request
      const wanted = Math.min(target, from + (granted.get(requestId) ?? target - from))
      const to = this.takePages(request, this.tables.roundToPage(request, wanted))
      if (to === from && (request.opened || target > 0)) return []
      this.tables.advance(request, to)
      request.opened = true
      return [{ requestId, contextId, slots, pages, from, to }]
    })
  }

  private adopt(request: AdmittedRequest): void {
    const tokens = this.tables.adopt(request)
    if (!request.reobserves) this.cache.hits += tokens
  }

  /** Takes pages for the context up to `to`, or as many as can be had; returns how far they reach. */
  private takePages(request: AdmittedRequest, to: number): number {
    const { pool } = this.tables
    const lacking = this.tables.lacking(request, to)
    while (pool.available < lacking && this.freePagesFor(request));
    const count = Math.min(lacking, pool.available)
    if (count < lacking) this.pagesRanOut = true
    request.pages.push(...(pool.take(count) ?? []))
    const reach = request.pages.length * this.capacity.pageSize
    return Math.min(to, Math.max(request.observed, reach))
  }

  /** Evicts or preempts one request, so that `needy` gets pages. False: there is none left to take from. */
  private freePagesFor(needy: AdmittedRequest): boolean {
    for (const requestId of this.held) {
      this.evict(requestId)
      return true
    }
    const all = [...this.running.values()]
    const younger = all.slice(all.indexOf(needy) + 1)
    // An answer that settles in this step still needs its context.
    const canYield = (request: AdmittedRequest) => request.pages.length > 0 && !isSettling(request)
    const victim =
      all.findLast((request) => request !== needy && request.paused && canYield(request)) ??
      younger.findLast(canYield)
    if (!victim) return false
    this.preempt(victim)
    return true
  }

  private preempt(request: AdmittedRequest): void {
    this.tables.drop(request)
    restartObservation(request)
    this.preempted.push(request)
    this.cache.preemptions++
  }
}

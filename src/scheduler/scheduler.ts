/**
 * Decides which requests have contexts, pages and slots, and what each step does. Integers only: it knows
 * no tensor, no text, no energy and no clock.
 *
 * Slots are shared by client at every step (shares.ts): while others wait, a client has no more than
 * its share of them, and its candidates beyond it are moved out of memory and come back later
 * (slot-assignment.ts). Within a client the requests admitted first come first. A request is admitted when its
 * client's share has a slot for it and its prompt fits into the cache; clients take turns, and a prompt
 * that does not fit yet keeps its turn.
 *
 * A request takes further pages as its context grows. When pages run out, held answers are evicted first;
 * then requests without a slot are preempted, and then those admitted last. A preempted request loses its
 * context and its answers are saved; its context is observed again when there is room, and it goes on where
 * it was. Of the requests that have slots the one admitted first always gets what it needs, so every request
 * ends.
 */
import { BasinError } from '../errors.js'
import {
  awaitsLastToken,
  isActive,
  isSettling,
  newAdmittedRequest,
  restartObservation,
  slotsFor,
  type AdmittedRequest,
} from './admitted-request.js'
import { add, ClientShares, fairShares, type Amounts, type PageClaims } from './shares.js'
import { FairQueue } from './fair-queue.js'
import { PagePool } from './page-pool.js'
import { PageNames, PageTables } from './page-tables.js'
import type {
  CacheCounts,
  Capacity,
  ObserveRange,
  Plan,
  RequestNeeds,
  ScheduledRequest,
  SlotRow,
} from './plan.js'
import { SlotAssignment } from './slot-assignment.js'

/** So many steps after pages ran out, requests that have more of them than their clients' share wait. */
const SHORTAGE_STEPS = 64

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
  private readonly slots: SlotAssignment
  private readonly freeContexts: number[]
  private nextRequestId = 0
  /** In the last step a request could not get a page. */
  private pagesRanOut = false
  /** How many of the coming steps share pages among clients, since they ran out lately. */
  private shortage = 0
  /** Collected while a step is planned. */
  private evicted: ScheduledRequest[] = []
  private preempted: AdmittedRequest[] = []
  private movedOut: SlotRow[] = []
  private released: number[] = []
  readonly cache: CacheCounts = { queries: 0, hits: 0, preemptions: 0, movedOut: 0 }

  constructor(
    private readonly capacity: Capacity,
    private readonly prefillChunk: number,
  ) {
    const { pages, pageSize, sharesPages } = capacity
    this.tables = new PageTables(new PagePool(pages), pageSize, sharesPages ?? false)
    this.slots = new SlotAssignment(capacity.slots)
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
    return this.slots.used
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
    this.movedOut = []
    this.released = []
    const newlyAdmitted = this.admit()
    const running = [...this.running.values()]
    const active = running.filter(isActive)
    const observe = this.observe(
      active.filter(({ granted, phase }) => phase === 'observing' && granted > 0),
    )
    const complete = active.filter(
      ({ phase, opened, observed, target }) =>
        phase === 'observing' && opened && observed === target,
    )
    const resumed = complete.filter(({ resumesAnswer }) => resumesAnswer)
    const begin = complete.filter(({ resumesAnswer }) => !resumesAnswer)
    for (const request of complete) request.phase = 'refining'
    for (const request of resumed) request.resumesAnswer = false
    for (const request of begin) moveAll(request)
    // Held requests that were evicted meanwhile are in no slot.
    const { moveIn, moveOut } = this.slots.assign(running, new Set(begin))
    this.addMovedOut(moveOut)
    const descend: SlotRow[] = []
    for (const request of running) addDescending(request, descend)
    const { evicted, movedOut, preempted, released: release } = this
    return {
      evicted,
      admitted: newlyAdmitted,
      preempted,
      moveOut: movedOut,
      release,
      resumed,
      observe,
      begin,
      moveIn,
      descend,
    }
  }

  /**
   * How many answers of one token, at most `most`, a request may settle in one call of the engine: it
   * needs nothing but its last token, and no other request waits. Takes free pages for these answers.
   */
  stride(requestId: number, most: number) {
    const request = this.running.get(requestId)
    const slot = request?.slots[0]
    if (!request || slot === undefined || this.queue.size > 0 || !awaitsLastToken(request))
      return undefined
    const { pages, observed: from } = request
    const { pool } = this.tables
    const lacking = Math.min(this.tables.lacking(request, from + most), pool.available)
    pages.push(...(pool.take(lacking) ?? []))
    const answers = Math.min(most, pages.length * this.capacity.pageSize - from)
    return { contextId: request.contextId, slot, pages, from, answers }
  }

  /** The next of these answers is in descent; the token before it is observed. Returns its slot. */
  follow(requestId: number): number {
    const request = this.admittedRequest(requestId)
    const [slot] = request.slots
    if (slot === undefined) throw new RangeError(`request ${requestId} is in no slot`)
    this.tables.advance(request, request.target)
    request.phase = 'refining'
    return slot
  }

  /** These candidates step next, in this order. */
  takeTurns(requestId: number, candidates: readonly number[]): void {
    this.admittedRequest(requestId).moving = new Set(candidates)
  }

  /** Its present answer needs no slots. */
  giveUpSlots(requestId: number): void {
    const request = this.admittedRequest(requestId)
    this.slots.release(request)
    request.moving.clear()
  }

  /**
   * These candidates, which have stopped, are to be read: those that are in no slot move in when there is room.
   */
  bringIn(requestId: number, candidates: readonly number[]): void {
    this.admittedRequest(requestId).reading = new Set(candidates)
  }

  /** Something is computed around the answer in the slots that it has now: they stay with it. */
  pin(requestId: number): void {
    this.admittedRequest(requestId).pinned = true
  }

  /** Whether the engine holds the context of a running request; without it no energy can be computed. */
  isPresent(requestId: number): boolean {
    const { contextId, resumesAnswer } = this.admittedRequest(requestId)
    return contextId >= 0 && !resumesAnswer
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
    request.pinned = false
    moveAll(request)
  }

  /** The answer is settled: its `tokens` tokens are observed before the next answer begins. */
  commit(requestId: number, tokens: number): void {
    const request = this.admittedRequest(requestId)
    request.phase = 'observing'
    request.target += tokens
    request.moving.clear()
    request.reading.clear()
  }

  /** Keeps slots, context and pages of a finished request until another request needs them. */
  hold(requestId: number): void {
    const request = this.admittedRequest(requestId)
    request.phase = 'held'
    request.pinned = false
    request.moving.clear()
    request.reading.clear()
    this.held.add(requestId)
  }

  /** A paused request keeps its place in the queue, or its context and pages, and takes part in no step. */
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
    this.slots.release(request)
    if (request.contextId >= 0) this.freeContexts.push(request.contextId)
    this.tables.drop(request)
    return request
  }

  private admittedRequest(requestId: number): AdmittedRequest {
    const request = this.running.get(requestId)
    if (!request) throw new RangeError(`request ${requestId} is not admitted`)
    return request
  }

  /** Divides the slots, and admits requests whose clients have slots left. */
  private admit(): ScheduledRequest[] {
    const newlyAdmitted: ScheduledRequest[] = []
    const shares = this.divide()
    let next = this.pagesRanOut ? undefined : this.nextWaiting(shares)
    for (; next; next = this.nextWaiting(shares)) {
      if (!this.makeRoom(next.needs)) {
        this.shortage = SHORTAGE_STEPS
        break
      }
      this.queue.take(next.needs.client, next)
      const request = this.allocate(next)
      this.running.set(request.requestId, request)
      shares.grant(request)
      newlyAdmitted.push(request)
    }
    return newlyAdmitted
  }

  private divide(): ClientShares {
    const waiting: Amounts = new Map()
    for (const { needs, paused } of this.queue)
      if (!paused) add(waiting, needs.client, slotsFor(needs, needs.candidates))
    if (this.pagesRanOut) this.shortage = SHORTAGE_STEPS
    const { slots } = this.capacity
    const pages = this.shortage > 0 ? this.pageClaims() : undefined
    this.shortage = Math.max(0, this.shortage - 1)
    const running = [...this.running.values()]
    return new ClientShares(running, { waiting, slots, turn: this.slots.turn, pages })
  }

  /** What everybody needs of the pages, which are short. */
  private pageClaims(): PageClaims {
    const waiting: Amounts = new Map()
    for (const { needs } of this.queue.heads(({ paused }) => !paused))
      add(waiting, needs.client, this.tables.pagesFor(needs.context.length + 1))
    const of = (request: AdmittedRequest) =>
      Math.max(request.pages.length, this.tables.pagesFor(request.target))
    return { total: this.capacity.pages, waiting, of }
  }

  /** The first request, in order of turns, whose client has a slot left. */
  private nextWaiting(shares: ClientShares): WaitingRequest | undefined {
    if (this.queue.size === 0) return undefined
    return this.queue
      .heads(({ paused }) => !paused)
      .find(({ needs }) => shares.left(needs.client) > 0)
  }

  /** Pages that must be available at admission: for the context and one page more, without those it can share. */
  private pagesToBegin({ client, context, positions }: RequestNeeds): number {
    const { tables } = this
    const most = Math.min(positions, context.length + this.capacity.pageSize)
    const names = new PageNames(client, context, this.capacity.pageSize)
    return tables.pagesFor(most) - tables.heldByOthers(names, context.length)
  }

  /**
   * Evicts held answers, oldest first, and preempts requests that take part in no step, if that makes the
   * request fit. False: it does not fit yet.
   */
  private makeRoom(needs: RequestNeeds): boolean {
    let contexts = this.freeContexts.length
    let pages = this.tables.pool.available
    for (const request of this.running.values())
      if (request.phase === 'observing' && request.granted > 0)
        pages -= this.tables.lacking(request, request.target)
    const victims: AdmittedRequest[] = []
    const needed = this.pagesToBegin(needs)
    const fits = () => contexts >= 1 && pages >= needed
    for (const request of [...this.heldRequests(), ...this.idleRequests()]) {
      if (fits()) break
      contexts += 1
      pages += request.pages.length
      victims.push(request)
    }
    if (!fits()) return false
    for (const victim of victims) this.takeFrom(victim)
    return true
  }

  private heldRequests(): AdmittedRequest[] {
    return [...this.held].map((requestId) => this.admittedRequest(requestId))
  }

  /** Those that have a context but take part in no step, the latest first: paused, or without a slot. */
  private idleRequests(): AdmittedRequest[] {
    const idle = ({ contextId, granted, paused, phase, pinned }: AdmittedRequest) =>
      contextId >= 0 && phase !== 'held' && !pinned && (paused || granted === 0)
    return [...this.running.values()]
      .filter((request) => idle(request) && !isSettling(request))
      .reverse()
  }

  private takeFrom(victim: AdmittedRequest): void {
    if (victim.phase !== 'held') {
      this.preempt(victim)
      return
    }
    this.release(victim.requestId)
    this.evicted.push(victim)
  }

  private allocate({ requestId, needs, paused }: WaitingRequest): AdmittedRequest {
    const { client, context, whole = false } = needs
    const contextId = this.freeContexts.pop()
    if (contextId === undefined) throw new RangeError('admitted without room')
    if (this.tables.sharing && !whole) this.cache.queries += context.length
    const names = new PageNames(client, context, this.capacity.pageSize)
    return newAdmittedRequest({ requestId, contextId, paused }, needs, names)
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
    const ranges: ObserveRange[] = []
    for (const request of requests) {
      if (this.preempted.includes(request) || !this.hasContext(request)) continue
      // Pages that an earlier request of this list fills in this step can be shared already.
      this.adopt(request)
      const { contextId, observed: from, pages, requestId, target } = request
      const wanted = Math.min(target, from + (granted.get(requestId) ?? target - from))
      const to = this.takePages(request, this.tables.roundToPage(request, wanted))
      if (to === from && (request.opened || target > 0)) continue
      this.tables.advance(request, to)
      request.opened = true
      ranges.push({ requestId, contextId, pages, from, to })
    }
    return ranges
  }

  /** Gives a request that was preempted a context again, if one is free. */
  private hasContext(request: AdmittedRequest): boolean {
    if (request.contextId < 0) request.contextId = this.freeContexts.pop() ?? -1
    return request.contextId >= 0
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
    const all = [...this.running.values()]
    const younger = all.slice(all.indexOf(needy) + 1)
    // An answer that settles in this step still needs its context.
    const canYield = (request: AdmittedRequest) =>
      request !== needy && request.pages.length > 0 && !request.pinned && !isSettling(request)
    const victim =
      this.heldRequests()[0] ??
      this.idleRequests().find(canYield) ??
      younger.findLast((request) => request.phase !== 'held' && canYield(request))
    if (!victim) return false
    this.takeFrom(victim)
    return true
  }

  /** Its answers are saved, and its context and pages are free for others. */
  private preempt(request: AdmittedRequest): void {
    this.addMovedOut(this.slots.vacate(request))
    this.tables.drop(request)
    if (request.contextId >= 0) {
      this.freeContexts.push(request.contextId)
      this.released.push(request.contextId)
    }
    restartObservation(request)
    this.preempted.push(request)
    this.cache.preemptions++
  }

  private addMovedOut(rows: readonly SlotRow[]): void {
    this.movedOut.push(...rows)
    this.cache.movedOut += rows.length
  }
}

/** All its candidates descend. */
function moveAll({ moving, slots }: AdmittedRequest): void {
  moving.clear()
  for (const candidate of slots.keys()) moving.add(candidate)
}

/** Adds its candidates in descent that are in slots. */
function addDescending(request: AdmittedRequest, rows: SlotRow[]): void {
  const { moving, paused, phase, requestId, slots } = request
  if (phase !== 'refining' || paused) return
  for (const candidate of moving) {
    const slot = slots[candidate]
    if (slot !== undefined) rows.push({ requestId, candidate, slot })
  }
}

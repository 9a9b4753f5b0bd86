/**
 * Which candidate is in which slot of the engine. A candidate whose slot others need moves out: its answer is
 * saved, and it comes back when its request has a slot for it again. Integers only.
 */
import { wantedCandidates, type AdmittedRequest } from './admitted-request.js'
import type { SlotRow } from './plan.js'

/** Steps after which a candidate in a slot makes way for one of the same request that waits for it. */
const TURN_STEPS = 32

interface Candidate {
  request: AdmittedRequest
  candidate: number
}

export class SlotAssignment {
  private readonly free: number[]
  /** Counts the steps. */
  private step = 0

  constructor(readonly size: number) {
    this.free = Array.from({ length: size }, (_, i) => size - 1 - i)
  }

  get used(): number {
    return this.size - this.free.length
  }

  /** Counts up once in so many steps: whose turn it is where not everybody can have a slot. */
  get turn(): number {
    return Math.floor(this.step / TURN_STEPS)
  }

  /**
   * Moves candidates in and out, so that each request has the slots that it is granted and needs. Slots that
   * nobody else needs stay where they are. `begun`: requests whose answers begin, in the slots they have.
   */
  assign(
    requests: readonly AdmittedRequest[],
    begun: ReadonlySet<AdmittedRequest>,
  ): { moveOut: SlotRow[]; moveIn: SlotRow[] } {
    this.step++
    const moveIn: SlotRow[] = []
    const incoming: Candidate[] = []
    for (const request of requests) {
      const chosen = this.chosen(request)
      if (begun.has(request)) this.releaseOthers(request, chosen)
      for (const candidate of chosen) {
        const slot = request.slots[candidate]
        if (slot === undefined) incoming.push({ request, candidate })
        else if (begun.has(request)) moveIn.push(rowOf(request, candidate, slot))
      }
    }
    const moveOut: SlotRow[] = []
    if (incoming.length > this.free.length)
      for (const { request, candidate } of this.leaving(requests)) {
        if (incoming.length <= this.free.length) break
        moveOut.push(...this.moveOut(request, candidate))
      }
    for (const { request, candidate } of incoming) {
      const slot = this.free.pop()
      if (slot === undefined) break
      request.slots[candidate] = slot
      request.movedAt[candidate] = this.step
      moveIn.push(rowOf(request, candidate, slot))
    }
    return { moveOut, moveIn }
  }

  /** All its candidates leave their slots; returns those whose answers are to be saved. */
  vacate(request: AdmittedRequest): SlotRow[] {
    return [...request.slots.keys()].flatMap((candidate) => this.moveOut(request, candidate))
  }

  /** Frees its slots; what is in them is not wanted any more. */
  release(request: AdmittedRequest): void {
    this.releaseOthers(request, [])
  }

  private releaseOthers({ slots }: AdmittedRequest, stay: readonly number[]): void {
    for (const [candidate, slot] of slots.entries()) {
      if (slot === undefined || stay.includes(candidate)) continue
      this.free.push(slot)
      slots[candidate] = undefined
    }
  }

  /**
   * The candidates of a request that are to be in slots: those that entered lately stay; then come those that
   * have waited longest, then the others. Where they step in rounds there is no choice.
   */
  private chosen(request: AdmittedRequest): readonly number[] {
    const wanted = wantedCandidates(request)
    if (wanted.length <= request.granted) return wanted
    if (request.needs.order === 'rounds') return wanted.slice(0, request.granted)
    const { movedAt, slots } = request
    const at = (candidate: number) => movedAt[candidate] as number
    const rank = (candidate: number) => {
      if (slots[candidate] === undefined) return 1
      return this.step - at(candidate) <= TURN_STEPS ? 0 : 2
    }
    return wanted
      .sort((a, b) => rank(a) - rank(b) || at(a) - at(b) || a - b)
      .slice(0, request.granted)
  }

  /** Candidates in slots that others may have, in the order in which they leave: those that need none first. */
  private leaving(requests: readonly AdmittedRequest[]): Candidate[] {
    const idle: Candidate[] = []
    const wanted: Candidate[] = []
    for (const request of requests) {
      if (request.pinned) continue
      const stays = new Set(this.chosen(request))
      const wants = new Set(wantedCandidates(request))
      for (const [candidate, slot] of request.slots.entries()) {
        if (slot === undefined || stays.has(candidate)) continue
        const leaves = { request, candidate }
        if (wants.has(candidate)) wanted.push(leaves)
        else idle.push(leaves)
      }
    }
    return [...idle, ...wanted]
  }

  /** Frees the slot of a candidate. Returns its row if there is an answer in it, which is to be saved. */
  private moveOut(request: AdmittedRequest, candidate: number): SlotRow[] {
    const slot = request.slots[candidate]
    if (slot === undefined) return []
    request.slots[candidate] = undefined
    request.movedAt[candidate] = this.step
    this.free.push(slot)
    return request.phase === 'observing' ? [] : [rowOf(request, candidate, slot)]
  }
}

const rowOf = ({ requestId }: AdmittedRequest, candidate: number, slot: number): SlotRow => ({
  requestId,
  candidate,
  slot,
})

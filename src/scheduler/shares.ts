/**
 * Fair shares: of the slots, and of pages that are short, among clients; of the tokens observed in a step,
 * among requests. A client's share is granted to its requests, those admitted first before those admitted
 * later. Integers only; all is decided at every step anew, from what everybody claims in that step.
 */
import { claimedSlots, isActive, isSettling, type AdmittedRequest } from './admitted-request.js'

/**
 * Max-min fair division: no share exceeds its need, and what small needs leave over goes to the large
 * ones. The shares add up to min(budget, sum of needs).
 */
export function fairShares(needs: readonly number[], budget: number): number[] {
  const shares = new Array<number>(needs.length).fill(0)
  const order = [...needs.keys()].sort((a, b) => (needs[a] as number) - (needs[b] as number))
  let left = budget
  order.forEach((index, served) => {
    const share = Math.min(needs[index] as number, Math.ceil(left / (order.length - served)))
    shares[index] = share
    left -= share
  })
  return shares
}

/** Slots, or pages, by client. */
export type Amounts = Map<string, number>

export function add(amounts: Amounts, client: string, amount: number): void {
  amounts.set(client, (amounts.get(client) ?? 0) + amount)
}

export interface PageClaims {
  /** The pages there are. */
  total: number
  /** What requests need that are not admitted yet. */
  waiting: Amounts
  /** What a request has or needs. */
  of: (request: AdmittedRequest) => number
}

export interface Division {
  /** Slots that requests claim which are not admitted yet. */
  waiting: Amounts
  /** The slots there are. */
  slots: number
  /** Where there are fewer slots than clients: whose turn it is. */
  turn: number
  /** Given where pages are short: then clients have shares of them too. */
  pages: PageClaims | undefined
}

/** The max-min fair share of each client: see `fairShares`. */
function sharesOf(claims: Amounts, total: number, turn: number): Amounts {
  const clients = [...claims.keys()]
  const first = clients.length === 0 ? 0 : turn % clients.length
  const order = [...clients.slice(first), ...clients.slice(0, first)]
  const amounts = fairShares(
    order.map((client) => claims.get(client) as number),
    total,
  )
  return new Map(order.map((client, i) => [client, amounts[i] as number]))
}

export class ClientShares {
  private readonly slots: Amounts
  private readonly granted: Amounts = new Map()

  /** Grants slots to `running`, which are in order of admission: sets `AdmittedRequest.granted`. */
  constructor(running: readonly AdmittedRequest[], { waiting, slots, turn, pages }: Division) {
    const claims: Amounts = new Map()
    for (const request of running) add(claims, request.needs.client, claimedSlots(request))
    for (const [client, claim] of waiting) add(claims, client, claim)
    this.slots = sharesOf(claims, slots, turn)
    // Answers that are to be read come first: with them, others get slots and pages.
    for (const request of running.filter(isSettling)) this.grant(request)
    const others = running.filter((request) => !isSettling(request))
    const over = pages ? beyondPages(others, running, pages, turn) : noRequests
    for (const request of others)
      if (over.has(request)) request.granted = 0
      else this.grant(request)
  }

  /** Slots of the client's share that are granted to none of its requests yet. */
  left(client: string): number {
    return (this.slots.get(client) ?? 0) - (this.granted.get(client) ?? 0)
  }

  grant(request: AdmittedRequest): void {
    const { client } = request.needs
    request.granted = Math.min(claimedSlots(request), this.left(client))
    add(this.granted, client, request.granted)
  }
}

const noRequests: ReadonlySet<AdmittedRequest> = new Set()

/**
 * Those of `requests`, in order of admission, that exceed their clients' shares of the pages. A client's first
 * request never does, even if it alone is larger; and none does where there is one client. `all`: whoever has
 * or needs pages.
 */
function beyondPages(
  requests: readonly AdmittedRequest[],
  all: readonly AdmittedRequest[],
  { of, total, waiting }: PageClaims,
  turn: number,
): ReadonlySet<AdmittedRequest> {
  const claims: Amounts = new Map(waiting)
  for (const request of all.filter(isActive)) add(claims, request.needs.client, of(request))
  const shares = sharesOf(claims, total, turn)
  if (shares.size < 2) return noRequests
  const taken: Amounts = new Map()
  const over = new Set<AdmittedRequest>()
  for (const request of requests.filter(isActive)) {
    const { client } = request.needs
    const after = (taken.get(client) ?? 0) + of(request)
    if (taken.has(client) && after > (shares.get(client) ?? 0)) over.add(request)
    else taken.set(client, after)
  }
  return over
}

import { describe, expect, it } from 'vitest'
import { fairShares } from '../../src/scheduler/batch.js'
import { PagePool } from '../../src/scheduler/pages.js'
import { FairQueue } from '../../src/scheduler/queue.js'
import { type Request, Scheduler } from '../../src/scheduler/scheduler.js'

describe('pages', () => {
  it('go back at once, and not before their last holder lets go', () => {
    const pool = new PagePool(4)
    const pages = pool.take(3) ?? []
    expect(new Set(pages).size).toBe(3)
    expect(pool.take(2)).toBeUndefined()
    expect(pool.used).toBe(3)
    pool.share(pages)
    pool.give(pages)
    expect(pool.available).toBe(1)
    pool.give(pages)
    expect(pool.available).toBe(4)
  })

  it('held by nobody cannot be given or shared', () => {
    const pool = new PagePool(2)
    expect(() => pool.give([0])).toThrow(RangeError)
    expect(() => pool.share([7])).toThrow(RangeError)
  })
})

describe('the queue', () => {
  const drain = (queue: FairQueue<string>) => {
    const order: string[] = []
    for (let item = queue.take(); item !== undefined; item = queue.take()) order.push(item)
    return order.join(' ')
  }

  it('takes turns between clients, and keeps the order within one', () => {
    const queue = new FairQueue<string>()
    for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(item.charAt(0), item)
    expect(queue.peek()).toBe('a1')
    expect(drain(queue)).toBe('a1 b1 c1 a2 c2 a3')
    expect(queue.size).toBe(0)
  })

  it('lets one leave without moving the others', () => {
    const queue = new FairQueue<string>()
    for (const item of ['a1', 'a2', 'b1', 'b2']) queue.push(item.charAt(0), item)
    expect(queue.remove((item) => item === 'b1')).toBe('b1')
    expect(queue.remove((item) => item === 'b1')).toBeUndefined()
    expect(queue.size).toBe(3)
    expect(drain(queue)).toBe('a1 b2 a2')
  })
})

describe('fair shares', () => {
  it.each([
    [[5, 100, 100], 65, [5, 30, 30]],
    [[1, 1, 1], 100, [1, 1, 1]],
    [[9, 9], 5, [3, 2]],
    [[], 5, []],
  ])('of %j from %i are %j', (needs, budget, shares) => {
    expect(fairShares(needs, budget)).toEqual(shares)
  })
})

const request = (overrides: Partial<Request> = {}): Request => ({
  client: 'a',
  prompt: 10,
  positions: 16,
  candidates: 1,
  ...overrides,
})

const scheduler = (capacity = {}, chunk = 8) =>
  new Scheduler({ slots: 4, sequences: 4, pages: 16, pageSize: 4, ...capacity }, chunk)

describe('admission', () => {
  it('refuses at once what could not even run alone', () => {
    expect(() => scheduler().submit(request({ candidates: 5 }))).toThrow(
      expect.objectContaining({ code: 'out_of_range' }),
    )
    expect(() => scheduler().submit(request({ positions: 65 }))).toThrow(
      expect.objectContaining({ code: 'out_of_range' }),
    )
    expect(scheduler().submit(request({ positions: 64, candidates: 4 }))).toBe(0)
  })

  it.each<[string, object, Partial<Request>]>([
    ['slots', {}, { candidates: 2 }],
    ['pages', { pages: 8 }, { positions: 16 }],
    ['sequences', { sequences: 2 }, {}],
  ])('waits for %s', (_what, capacity, wide) => {
    const two = scheduler(capacity)
    const tickets = [0, 1, 2].map(() => two.submit(request(wide)))
    expect(two.plan().admitted.map(({ ticket }) => ticket)).toEqual(tickets.slice(0, 2))
    expect(two.waiting).toBe(1)
    two.release(tickets[0] as number)
    expect(two.plan().admitted.map(({ ticket }) => ticket)).toEqual([tickets[2]])
  })

  it('does not let narrow requests overtake a wide one', () => {
    const it = scheduler()
    const first = it.submit(request({ client: 'a', candidates: 2 }))
    const wide = it.submit(request({ client: 'b', candidates: 4 }))
    const narrow = it.submit(request({ client: 'c' }))
    expect(it.plan().admitted.map(({ ticket }) => ticket)).toEqual([first])
    expect(it.plan().admitted).toEqual([])
    it.release(first)
    expect(it.plan().admitted.map(({ ticket }) => ticket)).toEqual([wide])
    it.release(wide)
    expect(it.plan().admitted.map(({ ticket }) => ticket)).toEqual([narrow])
  })

  it('evicts held sequences only where that suffices', () => {
    const it = scheduler()
    const [old, young, busy] = [0, 1, 2].map(() => it.submit(request())) as [number, number, number]
    it.plan()
    it.hold(old)
    it.hold(young)
    const wide = it.submit(request({ client: 'b', candidates: 4 }))
    expect(it.plan()).toMatchObject({ evicted: [], admitted: [] })
    expect(it.counts).toEqual({ running: 1, paused: 0, held: 2 })
    it.release(busy)
    expect(it.plan().evicted.map(({ ticket }) => ticket)).toEqual([old, young])
    it.release(wide)
    expect([it.slotsUsed, it.pagesUsed, it.sequencesUsed]).toEqual([0, 0, 0])
  })
})

describe('a tick', () => {
  it('observes prompts in chunks, then begins, then descends every candidate', () => {
    const it = scheduler()
    it.submit(request({ candidates: 2 }))
    const first = it.plan()
    expect(first.observe.map(({ from, to }) => [from, to])).toEqual([[0, 8]])
    expect([first.begin, first.descend]).toEqual([[], []])
    const second = it.plan()
    expect(second.observe.map(({ from, to }) => [from, to])).toEqual([[8, 10]])
    expect(second.begin).toHaveLength(1)
    expect(second.descend.map(({ candidate }) => candidate)).toEqual([0, 1])
    const third = it.plan()
    expect([third.observe, third.begin]).toEqual([[], []])
    expect(third.descend).toEqual(second.descend)
  })

  it('does not let a long prompt stall descent or short prompts', () => {
    const it = scheduler()
    const short = it.submit(request({ client: 'a', prompt: 3 }))
    const long = it.submit(request({ client: 'b', prompt: 30, positions: 40 }))
    const plan = it.plan()
    expect(plan.observe.map(({ ticket, to }) => [ticket, to])).toEqual([
      [short, 3],
      [long, 5],
    ])
    expect(plan.descend.map(({ ticket }) => ticket)).toEqual([short])
    it.commit(short, 1)
    const next = it.plan()
    expect(next.observe.map(({ ticket, to }) => [ticket, to])).toEqual([
      [short, 4],
      [long, 13],
    ])
    expect(next.descend.map(({ ticket }) => ticket)).toEqual([short])
  })

  it('begins a context without tokens by observing it empty, once', () => {
    const it = scheduler()
    it.submit(request({ prompt: 0 }))
    const plan = it.plan()
    expect(plan.observe.map(({ from, to }) => [from, to])).toEqual([[0, 0]])
    expect(plan.begin).toHaveLength(1)
    expect(it.plan().observe).toEqual([])
  })

  it('leaves out candidates at rest, and sequences paused or held', () => {
    const it = scheduler()
    const [resting, paused, held] = [0, 1, 2].map(() => it.submit(request({ prompt: 2 }))) as [
      number,
      number,
      number,
    ]
    it.plan()
    it.rest(resting, 0)
    it.pause(paused, true)
    it.hold(held)
    expect(it.plan().descend).toEqual([])
    it.pause(paused, false)
    it.reopen(held)
    it.reopen(resting)
    expect(it.plan().descend.map(({ ticket }) => ticket)).toEqual([resting, paused, held])
  })

  it('never gives a page or a slot to two sequences', () => {
    const it = scheduler()
    for (let i = 0; i < 4; i++) it.submit(request())
    const { admitted } = it.plan()
    const pages = admitted.flatMap((sequence) => sequence.pages)
    const slots = admitted.flatMap((sequence) => sequence.slots)
    expect(new Set(pages).size).toBe(16)
    expect(new Set(slots).size).toBe(4)
  })
})

import { describe, expect, it } from 'vitest'
import { fairShares } from '../../src/scheduler/shares.js'
import { PagePool } from '../../src/scheduler/page-pool.js'
import { FairQueue } from '../../src/scheduler/fair-queue.js'
import type { RequestNeeds } from '../../src/scheduler/plan.js'
import { Scheduler } from '../../src/scheduler/scheduler.js'

describe('the page pool', () => {
  it('frees a page when its last holder gives it back', () => {
    const pool = new PagePool(4)
    const pages = pool.take(3) ?? []
    expect(new Set(pages).size).toBe(3)
    expect(pool.take(2)).toBeUndefined()
    expect(pool.used).toBe(3)
    for (const page of pages) pool.share(page)
    pool.give(pages)
    expect(pool.available).toBe(1)
    pool.give(pages)
    expect(pool.available).toBe(4)
  })

  it('refuses to give or share a page that has no holder', () => {
    const pool = new PagePool(2)
    expect(() => pool.give([0])).toThrow(RangeError)
    expect(() => pool.share(1)).toThrow(RangeError)
  })

  it('finds an idle page until it is reused, and reuses the page that was idle longest', () => {
    const pool = new PagePool(3)
    const [a, b, c] = pool.take(3) as [number, number, number]
    pool.name(a, 'a')
    pool.name(b, 'b')
    pool.give([a, b])
    pool.give([c])
    expect([pool.find('a'), pool.find('b'), pool.used]).toEqual([a, b, 0])
    pool.share(b)
    expect(pool.used).toBe(1)
    pool.give([b])
    // c has no name, so it is reused first; then a, which has been idle longer than b.
    expect(pool.take(2)).toEqual([c, a])
    expect([pool.find('a'), pool.find('b')]).toEqual([undefined, b])
    pool.forget()
    expect(pool.find('b')).toBeUndefined()
    expect(pool.take(1)).toEqual([b])
  })

  it('keeps the page that was given a name first', () => {
    const pool = new PagePool(2)
    const [a, b] = pool.take(2) as [number, number]
    pool.name(a, 'same')
    pool.name(b, 'same')
    pool.give([b])
    expect(pool.find('same')).toBe(a)
    expect(pool.take(1)).toEqual([b])
  })
})

describe('the fair queue', () => {
  const anybody = () => true
  const drain = (queue: FairQueue<string>) => {
    const order: string[] = []
    for (let [item] = queue.heads(anybody); item; [item] = queue.heads(anybody)) {
      queue.take(item.charAt(0), item)
      order.push(item)
    }
    return order.join(' ')
  }

  it('serves clients in turns and keeps the order within a client', () => {
    const queue = new FairQueue<string>()
    for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(item.charAt(0), item)
    expect(queue.heads(anybody)).toEqual(['a1', 'b1', 'c1'])
    expect(queue.heads((item) => item !== 'a1')).toEqual(['a2', 'b1', 'c1'])
    expect([...queue]).toHaveLength(6)
    expect(drain(queue)).toBe('a1 b1 c1 a2 c2 a3')
    expect(queue.size).toBe(0)
    expect(() => queue.take('a', 'a1')).toThrow(RangeError)
  })

  it('removes one item and keeps the places of the others', () => {
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

type Asked = Partial<Omit<RequestNeeds, 'context'>> & { prompt?: number }

const request = ({ prompt = 10, ...asked }: Asked = {}): RequestNeeds => ({
  client: 'a',
  context: Array.from({ length: prompt }, (_, i) => i),
  positions: 16,
  candidates: 1,
  ...asked,
})

/** How often each item occurs, in order of the first occurrence. */
const counted = (items: readonly number[]): [number, number][] =>
  [...new Set(items)].map((item) => [item, items.filter((other) => other === item).length])

const scheduler = (capacity = {}, chunk = 8) =>
  new Scheduler({ slots: 4, contexts: 4, pages: 16, pageSize: 4, ...capacity }, chunk)

describe('admission', () => {
  it('refuses at once a request that could not run even alone', () => {
    expect(() => scheduler().submit(request({ candidates: 5 }))).toThrow(
      expect.objectContaining({ code: 'out_of_range' }),
    )
    expect(() => scheduler().submit(request({ positions: 65 }))).toThrow(
      expect.objectContaining({ code: 'out_of_range' }),
    )
    expect(scheduler().submit(request({ positions: 64, candidates: 4 }))).toBe(0)
  })

  it.each<[string, object, Asked]>([
    ['slots', {}, { candidates: 2 }],
    ['pages', { pages: 8 }, { positions: 16 }],
    ['contexts', { contexts: 2 }, {}],
  ])('waits for %s', (_what, capacity, wide) => {
    const two = scheduler(capacity)
    const ids = [0, 1, 2].map(() => two.submit(request(wide)))
    expect(two.schedule().admitted.map(({ requestId }) => requestId)).toEqual(ids.slice(0, 2))
    expect(two.waiting).toBe(1)
    two.release(ids[0] as number)
    expect(two.schedule().admitted.map(({ requestId }) => requestId)).toEqual([ids[2]])
  })

  it('gives a wide request the slots of its share at once', () => {
    const it = scheduler()
    const first = it.submit(request({ client: 'a', candidates: 2, prompt: 2 }))
    const wide = it.submit(request({ client: 'b', candidates: 4, prompt: 2 }))
    const narrow = it.submit(request({ client: 'c', prompt: 2 }))
    const { admitted, descend } = it.schedule()
    expect(admitted.map(({ requestId }) => requestId)).toEqual([first, wide, narrow])
    expect(counted(descend.map(({ requestId }) => requestId))).toEqual([
      [first, 2],
      [wide, 1],
      [narrow, 1],
    ])
    it.release(first)
    expect(counted(it.schedule().descend.map(({ requestId }) => requestId))).toEqual([
      [wide, 3],
      [narrow, 1],
    ])
  })

  it('lets no long prompt be overtaken for ever by short ones', () => {
    const it = scheduler({ pages: 6 }, 64)
    const first = it.submit(request({ client: 'a', prompt: 12, positions: 12 }))
    const long = it.submit(request({ client: 'b', prompt: 20, positions: 20 }))
    const short = it.submit(request({ client: 'c', prompt: 1, positions: 4 }))
    expect(it.schedule().admitted.map(({ requestId }) => requestId)).toEqual([first])
    expect(it.schedule().admitted).toEqual([])
    it.release(first)
    expect(it.schedule().admitted.map(({ requestId }) => requestId)).toEqual([long, short])
  })

  it('keeps held answers while there is room, and moves them out of their slots for others', () => {
    const it = scheduler()
    const [old, young, busy] = [0, 1, 2].map(() => it.submit(request({ prompt: 2 }))) as [
      number,
      number,
      number,
    ]
    it.schedule()
    it.hold(old)
    it.hold(young)
    const wide = it.submit(request({ client: 'b', candidates: 4, prompt: 2 }))
    const plan = it.schedule()
    expect(plan).toMatchObject({ evicted: [], admitted: [{ requestId: wide }] })
    expect(plan.moveOut.map(({ requestId }) => requestId)).toEqual([old, young])
    expect(it.counts).toEqual({ running: 2, paused: 0, held: 2 })
    const last = it.submit(request({ client: 'c', prompt: 2 }))
    expect(it.schedule().evicted.map(({ requestId }) => requestId)).toEqual([old])
    for (const requestId of [busy, wide, last, young]) it.release(requestId)
    expect([it.slotsUsed, it.pagesUsed, it.contextsUsed]).toEqual([0, 0, 0])
  })
})

describe('a step', () => {
  it('observes prompts in chunks, then begins, then descends every candidate', () => {
    const it = scheduler()
    it.submit(request({ candidates: 2 }))
    const first = it.schedule()
    expect(first.observe.map(({ from, to }) => [from, to])).toEqual([[0, 8]])
    expect([first.begin, first.descend]).toEqual([[], []])
    const second = it.schedule()
    expect(second.observe.map(({ from, to }) => [from, to])).toEqual([[8, 10]])
    expect(second.begin).toHaveLength(1)
    expect(second.descend.map(({ candidate }) => candidate)).toEqual([0, 1])
    const third = it.schedule()
    expect([third.observe, third.begin]).toEqual([[], []])
    expect(third.descend).toEqual(second.descend)
  })

  it('does not let a long prompt stall descent or short prompts', () => {
    const it = scheduler()
    const short = it.submit(request({ client: 'a', prompt: 3 }))
    const long = it.submit(request({ client: 'b', prompt: 30, positions: 40 }))
    const plan = it.schedule()
    expect(plan.observe.map(({ requestId, to }) => [requestId, to])).toEqual([
      [short, 3],
      [long, 5],
    ])
    expect(plan.descend.map(({ requestId }) => requestId)).toEqual([short])
    it.commit(short, 1)
    const next = it.schedule()
    expect(next.observe.map(({ requestId, to }) => [requestId, to])).toEqual([
      [short, 4],
      [long, 13],
    ])
    expect(next.descend.map(({ requestId }) => requestId)).toEqual([short])
  })

  it('observes a context without tokens once, as an empty range', () => {
    const it = scheduler()
    it.submit(request({ prompt: 0 }))
    const plan = it.schedule()
    expect(plan.observe.map(({ from, to }) => [from, to])).toEqual([[0, 0]])
    expect(plan.begin).toHaveLength(1)
    expect(it.schedule().observe).toEqual([])
  })

  it('leaves out candidates that have stopped, and paused or held requests', () => {
    const it = scheduler()
    const [resting, paused, held] = [0, 1, 2].map(() => it.submit(request({ prompt: 2 }))) as [
      number,
      number,
      number,
    ]
    it.schedule()
    it.rest(resting, 0)
    it.pause(paused, true)
    it.hold(held)
    expect(it.schedule().descend).toEqual([])
    it.pause(paused, false)
    it.reopen(held)
    it.reopen(resting)
    expect(it.schedule().descend.map(({ requestId }) => requestId)).toEqual([resting, paused, held])
  })

  it('never gives a page or a slot to two requests that do not share', () => {
    const it = scheduler({}, 64)
    for (let i = 0; i < 4; i++) it.submit(request())
    const { moveIn, observe } = it.schedule()
    const pages = observe.flatMap((request) => request.pages)
    const slots = moveIn.map(({ slot }) => slot)
    expect([new Set(pages).size, pages.length]).toEqual([12, 12])
    expect(new Set(slots).size).toBe(4)
  })
})

describe('slots that several clients want', () => {
  const short = (asked: Asked) => request({ prompt: 2, positions: 4, ...asked })
  const rows = (it: Scheduler) => counted(it.schedule().descend.map(({ requestId }) => requestId))

  it('are shared at the next step, however many one client had, and go back to it later', () => {
    const it = scheduler()
    const wide = it.submit(short({ client: 'a', candidates: 4 }))
    expect(rows(it)).toEqual([[wide, 4]])
    const other = it.submit(short({ client: 'b' }))
    const plan = it.schedule()
    expect(plan.moveOut).toEqual([
      { requestId: wide, candidate: 3, slot: expect.any(Number) as number },
    ])
    expect(plan.moveIn).toMatchObject([{ requestId: other, slot: plan.moveOut[0]?.slot }])
    expect(counted(plan.descend.map(({ requestId }) => requestId))).toEqual([
      [wide, 3],
      [other, 1],
    ])
    it.release(other)
    const after = it.schedule()
    expect(after.moveIn).toMatchObject([{ requestId: wide, candidate: 3 }])
    expect(after.descend).toHaveLength(4)
    expect(it.cache.movedOut).toBe(1)
  })

  it('go by client and not by request', () => {
    const it = scheduler()
    const many = [0, 1, 2, 3].map(() => it.submit(short({ client: 'a' })))
    it.schedule()
    const wide = it.submit(short({ client: 'b', candidates: 4 }))
    expect(rows(it)).toEqual([
      [many[0], 1],
      [many[1], 1],
      [wide, 2],
    ])
  })

  it('are taken from paused requests first, which go on in others', () => {
    const it = scheduler()
    const paused = it.submit(short({ client: 'a', candidates: 4 }))
    it.schedule()
    it.pause(paused, true)
    expect(it.slotsUsed).toBe(4)
    const other = it.submit(short({ client: 'b', candidates: 4 }))
    expect(rows(it)).toEqual([[other, 4]])
    it.pause(paused, false)
    expect(rows(it)).toEqual([
      [paused, 2],
      [other, 2],
    ])
  })

  it('are taken in turns by the candidates of an answer that has too few', () => {
    const it = scheduler()
    const wide = it.submit(short({ client: 'a', candidates: 4 }))
    it.submit(short({ client: 'b', candidates: 4 }))
    const steps = [0, 0, 0, 0]
    for (let i = 0; i < 400; i++)
      for (const { candidate, requestId } of it.schedule().descend)
        if (requestId === wide) (steps[candidate] as number)++
    expect(Math.min(...steps)).toBeGreaterThan(150)
    expect(steps.reduce((sum, count) => sum + count)).toBe(800)
  })

  it('are taken in turns by clients where there are more of these', () => {
    const it = scheduler({ contexts: 8 })
    const ids = 'abcdef'.split('').map((client) => it.submit(short({ client, candidates: 2 })))
    const steps = new Map<number, number>()
    for (let i = 0; i < 600; i++)
      for (const { requestId } of it.schedule().descend)
        steps.set(requestId, (steps.get(requestId) ?? 0) + 1)
    for (const id of ids) expect(steps.get(id)).toBeGreaterThan(300)
  })

  it('are one for an answer whose candidates descend one after the other', () => {
    const it = scheduler()
    const wide = it.submit(short({ client: 'a', candidates: 4, order: 'sequence' }))
    const other = it.submit(short({ client: 'b', candidates: 3 }))
    it.schedule()
    expect(it.slotsUsed).toBe(4)
    it.rest(wide, 0)
    const { descend, moveOut } = it.schedule()
    // What candidate 0 has found is kept until the answer is chosen.
    expect(moveOut).toMatchObject([{ requestId: wide, candidate: 0 }])
    expect(descend.map(({ candidate, requestId }) => [requestId, candidate])).toEqual([
      [wide, 1],
      ...[0, 1, 2].map((candidate) => [other, candidate]),
    ])
  })

  it('come back to candidates that are to be read', () => {
    const it = scheduler()
    const wide = it.submit(short({ client: 'a', candidates: 4 }))
    it.schedule()
    it.submit(short({ client: 'b', candidates: 4 }))
    it.schedule()
    for (const candidate of [0, 1, 2, 3]) it.rest(wide, candidate)
    it.bringIn(wide, [3])
    expect(it.schedule().moveIn).toMatchObject([
      { requestId: wide, candidate: 3 },
      { candidate: 2 },
    ])
  })

  it('need contexts, which paused requests give up', () => {
    const it = scheduler({ contexts: 2 })
    const ids = [0, 1].map(() => it.submit(short({ client: 'a' })))
    it.schedule()
    for (const id of ids) it.pause(id, true)
    const other = it.submit(short({ client: 'b' }))
    const plan = it.schedule()
    expect(plan.preempted.map(({ requestId }) => requestId)).toEqual([ids[1]])
    expect(plan.release).toHaveLength(1)
    expect(plan.descend).toMatchObject([{ requestId: other }])
    it.release(other)
    it.pause(ids[1] as number, false)
    const back = it.schedule()
    expect(back.resumed).toMatchObject([{ requestId: ids[1] }])
    expect(back.moveIn).toMatchObject([{ requestId: ids[1] }])
  })
})

describe('contexts that begin with the same tokens', () => {
  const sharing = (capacity = {}, chunk = 64) =>
    scheduler({ sharesPages: true, ...capacity }, chunk)
  const ranges = (it: Scheduler) => it.schedule().observe.map(({ from, to }) => [from, to])

  it('observe the common tokens once, in the same step and later', () => {
    const it = sharing()
    const [one, two] = [0, 1].map(() => it.submit(request())) as [number, number]
    const { observe } = it.schedule()
    expect(observe.map(({ from, to }) => [from, to])).toEqual([[0, 10]])
    const second = it.schedule().observe
    expect(second.map(({ from, to }) => [from, to])).toEqual([[8, 10]])
    const [a, b] = [...observe, ...second].map(({ pages }) => pages) as [number[], number[]]
    expect(b.slice(0, 2)).toEqual(a.slice(0, 2))
    expect(b[2]).not.toBe(a[2])
    expect(it.pagesUsed).toBe(4)
    it.release(one)
    it.release(two)
    expect(it.pagesUsed).toBe(0)
    it.submit(request())
    expect(ranges(it)).toEqual([[8, 10]])
    expect(it.cache).toEqual({ queries: 30, hits: 16, preemptions: 0, movedOut: 0 })
  })

  it('wait while one of them observes the page that all need', () => {
    const it = sharing({}, 6)
    const ids = [0, 1, 2].map(() => it.submit(request({ prompt: 14 })))
    expect(ranges(it)).toEqual([[0, 4]])
    expect(ranges(it)).toEqual([[4, 8]])
    it.release(ids[0] as number)
    expect(ranges(it)).toEqual([[8, 14]])
    expect(ranges(it)).toEqual([[12, 14]])
  })

  it('always observe their last token themselves', () => {
    const it = sharing()
    for (let i = 0; i < 2; i++) it.submit(request({ prompt: 8 }))
    expect(ranges(it)).toEqual([[0, 8]])
    expect(ranges(it)).toEqual([[4, 8]])
  })

  it('do not share pages of other clients, of other tokens or of a failed call', () => {
    const it = sharing()
    const first = it.submit(request())
    it.schedule()
    it.submit(request({ client: 'b' }))
    expect(ranges(it)).toEqual([[0, 10]])
    it.submit({ ...request(), context: [9, 1, 2, 3, 4, 5, 6, 7, 8, 9] })
    expect(ranges(it)).toEqual([[0, 10]])
    it.release(first)
    it.forgetPages()
    it.submit(request())
    expect(ranges(it)).toEqual([[0, 10]])
    expect(it.cache.hits).toBe(0)
  })

  it('share the pages of earlier answers as a conversation goes on', () => {
    const it = sharing()
    const context = Array.from({ length: 6 }, (_, i) => i)
    const first = it.submit({ ...request(), context })
    it.schedule()
    context.push(6, 7, 8)
    it.commit(first, 3)
    expect(ranges(it)).toEqual([[6, 9]])
    it.release(first)
    it.submit(request({ prompt: 12 }))
    expect(ranges(it)).toEqual([[8, 12]])
  })
})

describe('when pages run out', () => {
  const grow = (it: Scheduler, context: number[], requestId: number) => {
    context.push(0, 1, 2, 3)
    it.commit(requestId, 4)
  }
  const two = (capacity: object) => {
    const it = scheduler({ pages: 6, ...capacity }, 64)
    const contexts = [0, 1].map((i) => Array.from({ length: 8 }, () => i))
    const ids = contexts.map((context) => it.submit({ ...request({ positions: 24 }), context }))
    expect(it.schedule().begin).toHaveLength(2)
    return { it, contexts: contexts as [number[], number[]], ids: ids as [number, number] }
  }

  it('preempts the request admitted last, which later goes on where it was', () => {
    const { it, contexts, ids } = two({})
    grow(it, contexts[0], ids[0])
    expect(it.schedule().preempted).toEqual([])
    grow(it, contexts[0], ids[0])
    expect(it.schedule().preempted).toEqual([])
    grow(it, contexts[0], ids[0])
    const plan = it.schedule()
    expect(plan.preempted.map(({ requestId }) => requestId)).toEqual([ids[1]])
    expect(plan.descend.map(({ requestId }) => requestId)).toEqual([ids[0]])
    expect(it.isPresent(ids[1])).toBe(false)
    // It needs two pages, and only one is free.
    expect(it.schedule().observe.map(({ from, to }) => [from, to])).toEqual([[0, 4]])
    it.release(ids[0])
    const back = it.schedule()
    expect(back.observe.map(({ from, to }) => [from, to])).toEqual([[4, 8]])
    expect(back.resumed.map(({ requestId }) => requestId)).toEqual([ids[1]])
    expect(back.begin).toEqual([])
    expect(back.descend.map(({ requestId }) => requestId)).toEqual([ids[1]])
    expect(it.cache.preemptions).toBe(1)
    it.release(ids[1])
    expect(it.pagesUsed).toBe(0)
  })

  it('preempts a paused request even for one admitted after it', () => {
    const { it, contexts, ids } = two({})
    it.pause(ids[0], true)
    for (let i = 0; i < 3; i++) {
      grow(it, contexts[1], ids[1])
      it.schedule()
    }
    expect(it.cache.preemptions).toBe(1)
    expect(it.isPresent(ids[0])).toBe(false)
  })

  it('admits no further request before the admitted ones have their pages', () => {
    const { it, contexts, ids } = two({})
    for (let i = 0; i < 3; i++) {
      grow(it, contexts[0], ids[0])
      it.schedule()
    }
    const third = it.submit(request({ prompt: 1, positions: 4 }))
    expect(it.schedule().admitted).toEqual([])
    it.release(ids[0])
    it.schedule()
    expect(it.schedule().admitted.map(({ requestId }) => requestId)).toEqual([third])
  })

  it('lets a client in whose share of the pages others have taken', () => {
    const it = scheduler({ pages: 8 }, 64)
    const contexts = [0, 1].map((i) => Array.from({ length: 12 }, () => i))
    const ids = contexts.map((context) => it.submit({ ...request({ positions: 24 }), context }))
    it.schedule()
    const other = it.submit(request({ client: 'b', prompt: 8, positions: 12 }))
    let began = false
    for (let i = 0; i < 8 && !began; i++) {
      const [context] = contexts as [number[]]
      if (i < 2) grow(it, context, ids[0] as number)
      began = it.schedule().begin.some(({ requestId }) => requestId === other)
    }
    expect(began).toBe(true)
  })

  it('does not preempt a request whose answer settles in this step', () => {
    const { it, contexts, ids } = two({})
    it.rest(ids[1], 0)
    for (let i = 0; i < 3; i++) {
      grow(it, contexts[0], ids[0])
      expect(it.schedule().preempted).toEqual([])
    }
    expect(it.isPresent(ids[1])).toBe(true)
  })
})

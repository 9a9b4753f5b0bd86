/** Counts of token pairs, and which pair is the most frequent. Knows ids only; serves training. */
import { MAX_VOCABULARY } from './descriptor.js'

/** One number per pair, in the order of (left, right). */
export const pairKey = (left: number, right: number): number => left * MAX_VOCABULARY + right

interface Entry {
  key: number
  count: number
}

const precedes = (a: Entry, b: Entry): boolean =>
  a.count > b.count || (a.count === b.count && a.key < b.key)

/**
 * A binary heap with lazy updates: a count that fell leaves its old entry behind, which is corrected
 * when it comes to the top. A count rises only before the next `settle`, which enters it.
 */
export class PairQueue {
  readonly #counts = new Map<number, number>()
  readonly #risen = new Set<number>()
  readonly #heap: Entry[] = []

  add(key: number, change: number): void {
    const count = (this.#counts.get(key) ?? 0) + change
    if (count === 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
    if (change > 0) this.#risen.add(key)
  }

  /** Enters the pairs whose counts rose. */
  settle(): void {
    for (const key of this.#risen) {
      const count = this.#counts.get(key)
      if (count !== undefined) this.#push({ key, count })
    }
    this.#risen.clear()
  }

  /** The most frequent pair, ties to the lowest ids; it leaves the queue. */
  takeMostFrequent(): { left: number; right: number; count: number } | undefined {
    for (let top = this.#pop(); top !== undefined; top = this.#pop()) {
      const { key, count: entered } = top
      const count = this.#counts.get(key) ?? 0
      if (count === entered) {
        return { left: Math.floor(key / MAX_VOCABULARY), right: key % MAX_VOCABULARY, count }
      }
      if (count > 0 && count < entered) this.#push({ key, count })
    }
    return undefined
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let place = heap.length
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (precedes(heap[parent] as Entry, entry)) break
      heap[place] = heap[parent] as Entry
      place = parent
    }
    heap[place] = entry
  }

  #pop(): Entry | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && precedes(heap[child + 1] as Entry, heap[child] as Entry))
        child++
      if (precedes(last, heap[child] as Entry)) break
      heap[place] = heap[child] as Entry
      place = child
    }
    heap[place] = last
    return top
  }
}

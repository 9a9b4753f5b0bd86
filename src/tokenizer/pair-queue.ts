/** A priority queue of token pairs by frequency, for training a tokenizer. It knows ids only. */
import { MAX_VOCABULARY } from './descriptor.js'

/** A number for each pair, ordered like (left, right). */
export const pairKey = (left: number, right: number): number => left * MAX_VOCABULARY + right

interface Entry {
  key: number
  count: number
}

const precedes = (a: Entry, b: Entry): boolean =>
  a.count > b.count || (a.count === b.count && a.key < b.key)

/**
 * A binary heap with lazy updates: when a count falls, its old entry stays and is corrected when it comes
 * to the top. When counts rise, `flushRisen` must be called before the next `takeMostFrequent`.
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

  /** Adds entries for the pairs whose counts have risen. */
  flushRisen(): void {
    for (const key of this.#risen) {
      const count = this.#counts.get(key)
      if (count !== undefined) this.#push({ key, count })
    }
    this.#risen.clear()
  }

  /** Removes and returns the most frequent pair, the one with the lowest ids among equals. */
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

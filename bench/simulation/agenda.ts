/**
 * What happens next in virtual time. Every source (a replica, the arrivals, a timer) has at most one next time, so
 * the agenda is an indexed binary heap and never holds more than one entry for each. Equal times are taken in the
 * order of the sources' numbers, so that a simulation is a function of its seed.
 */
export class Agenda {
  private readonly heap: number[] = []
  /** By source: its place in the heap; -1 where it has no next time. */
  private readonly places: number[] = []
  private readonly times: number[] = []
  /** The time of the latest entry that was taken. */
  now = 0

  /** Replaces the next time of a source; Infinity: it has none. Throws where that time is past. */
  set(source: number, time: number): void {
    if (!(time >= this.now)) throw new RangeError(`${time} s is before the present, ${this.now} s`)
    while (this.places.length <= source) this.places.push(-1)
    const place = this.places[source] as number
    this.times[source] = time
    if (time === Infinity) {
      if (place >= 0) this.removeAt(place)
      return
    }
    if (place < 0) this.heap.push(source)
    const at = place < 0 ? this.heap.length - 1 : place
    this.places[source] = at
    this.sink(this.rise(at))
  }

  /** When a source is next; Infinity where it has no next time. */
  timeOf(source: number): number {
    return (this.places[source] ?? -1) < 0 ? Infinity : (this.times[source] as number)
  }

  /** When the earliest source is; Infinity where there is none. */
  get earliest(): number {
    const source = this.heap[0]
    return source === undefined ? Infinity : (this.times[source] as number)
  }

  /** Takes the earliest source off the agenda; undefined where there is none. */
  take(): number | undefined {
    const source = this.heap[0]
    if (source === undefined) return undefined
    this.now = this.times[source] as number
    this.removeAt(0)
    return source
  }

  private removeAt(place: number): void {
    const source = this.heap[place] as number
    const last = this.heap.pop() as number
    this.places[source] = -1
    if (last === source) return
    this.heap[place] = last
    this.places[last] = place
    this.sink(this.rise(place))
  }

  private rise(place: number): number {
    let at = place
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.isBefore(at, parent)) break
      this.swap(at, parent)
      at = parent
    }
    return at
  }

  private sink(place: number): void {
    let at = place
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      let least = at
      if (left < this.heap.length && this.isBefore(left, least)) least = left
      if (right < this.heap.length && this.isBefore(right, least)) least = right
      if (least === at) return
      this.swap(at, least)
      at = least
    }
  }

  private isBefore(a: number, b: number): boolean {
    const [first, second] = [this.heap[a] as number, this.heap[b] as number]
    const [x, y] = [this.times[first] as number, this.times[second] as number]
    return x < y || (x === y && first < second)
  }

  private swap(a: number, b: number): void {
    const [first, second] = [this.heap[a] as number, this.heap[b] as number]
    this.heap[a] = second
    this.heap[b] = first
    this.places[second] = a
    this.places[first] = b
  }
}

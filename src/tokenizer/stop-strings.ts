/** Finds stop strings in a growing text. It knows text only: a stop string may extend over several tokens. */

export interface Matched {
  /** Text that certainly comes before any stop string. */
  emit: string
  /** True once a stop string is complete. It and all text after it are dropped. */
  stopped: boolean
}

/** Length of the longest proper prefix of `stop` that `text` ends with. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}

/**
 * The stop string that is completed first ends the text; of several completed by the same character, the
 * one that began first. The result does not depend on how the text is split between calls of `feed`.
 */
export class StopMatcher {
  readonly #stops: readonly string[]
  #held = ''
  #stopped = false

  /** `stops` must not contain the empty string. Without stop strings all text is emitted at once. */
  constructor(stops: readonly string[]) {
    this.#stops = stops
  }

  feed(text: string): Matched {
    if (this.#stopped) return { emit: '', stopped: true }
    if (this.#stops.length === 0) return { emit: text, stopped: false }
    const pending = this.#held + text
    let start = -1
    let end = Infinity
    for (const stop of this.#stops) {
      const at = pending.indexOf(stop)
      if (at < 0 || at + stop.length > end) continue
      if (at + stop.length === end && at > start) continue
      start = at
      end = at + stop.length
    }
    if (start >= 0) {
      this.#held = ''
      this.#stopped = true
      return { emit: pending.slice(0, start), stopped: true }
    }
    const hold = Math.max(0, ...this.#stops.map((stop) => overlap(pending, stop)))
    this.#held = pending.slice(pending.length - hold)
    return { emit: pending.slice(0, pending.length - hold), stopped: false }
  }

  /** Ends the text: returns what was held back as the possible beginning of a stop string. */
  flush(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/**
 * Training text as windows of tokens. A batch is a pure function of (seed, update), so a resumed run
 * sees what an uninterrupted one would. Knows tokens; knows no tensor and no objective.
 */
import { BasinError } from '../../errors.js'
import { uniform } from '../../refine/random.js'
import type { TokenizedText } from './tokenized-text.js'

/** Draws of an update below this belong to its objective. */
export const DATA_DRAWS = 0x80000000

/** A window of text for evaluation. */
export interface Window {
  /** [S + 1]: the first token is context only, the other S are to be predicted. */
  tokens: Int32Array
  /** Of UTF-8 text that the S tokens stand for; special tokens stand for none. */
  bytes: number
}

export class TextSource {
  constructor(
    private readonly tokens: TokenizedText,
    private readonly seed: number,
  ) {}

  /**
   * `rows` windows [rows, length + 1], row-major, from places drawn evenly. Throws `invalid_data`
   * where the text is shorter than a window.
   */
  batch(update: number, rows: number, length: number): Int32Array {
    const places = this.tokens.length - length
    if (places < 1) {
      throw new BasinError('invalid_data', {
        path: this.tokens.paths.join(', '),
        reason: `holds ${this.tokens.length} tokens, a window takes ${length + 1}`,
      })
    }
    const batch = new Int32Array(rows * (length + 1))
    for (let row = 0; row < rows; row++) {
      const start = Math.floor(uniform(this.seed, update, DATA_DRAWS + row) * places)
      batch.set(this.tokens.read(start, length + 1), row * (length + 1))
    }
    return batch
  }

  /**
   * Windows of `length` predicted tokens, from the first on, each token predicted once; fewer than
   * `length` at the end are left out, and are not counted in `bytes`. Bits per byte of the text are
   * the nats of all windows / (ln 2 x the bytes of all windows).
   */
  *windows(length: number): Generator<Window> {
    for (let start = 0; start + length < this.tokens.length; start += length) {
      const tokens = this.tokens.read(start, length + 1)
      yield { tokens, bytes: this.tokens.bytesOf(tokens.subarray(1)) }
    }
  }
}

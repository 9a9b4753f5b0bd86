/**
 * Training text as windows of tokens. A batch is a pure function of (seed, update), so a resumed run
 * draws the same windows as an uninterrupted one. This file handles tokens only: no tensors and no
 * objective.
 */
import { BasinError } from '../../errors.js'
import { uniform } from '../../refine/random.js'
import type { TokenizedText } from './tokenized-text.js'

/** Index of the first random number of an update that chooses data; the objective has those below. */
export const DATA_DRAWS = 0x80000000

/** A window of text for evaluation. */
export interface Window {
  /** [S + 1]: the first token is context only, the other S are to be predicted. */
  tokens: Int32Array
  /** Bytes of UTF-8 text that the S predicted tokens stand for; special tokens stand for none. */
  bytes: number
}

export class TextSource {
  constructor(
    private readonly tokens: TokenizedText,
    private readonly seed: number,
  ) {}

  /**
   * Draws `rows` windows [rows, length + 1], row-major, each place of the text with equal probability.
   * Throws `invalid_data` if the text is shorter than a window.
   */
  batch(update: number, rows: number, length: number): Int32Array {
    const places = this.tokens.length - length
    if (places < 1) {
      throw new BasinError('invalid_data', {
        path: this.tokens.paths.join(', '),
        reason: `holds ${this.tokens.length} tokens, a window takes ${length + 1}; give more text or a smaller --window`,
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
   * Cuts the text into windows of `length` predicted tokens, in order, so that each token is predicted
   * once. A rest of fewer than `length` tokens is left out, and is not counted in `bytes`. The bits per
   * byte of the text are (nats of all windows) / (ln 2 x bytes of all windows).
   */
  *windows(length: number): Generator<Window> {
    for (let start = 0; start + length < this.tokens.length; start += length) {
      const tokens = this.tokens.read(start, length + 1)
      yield { tokens, bytes: this.tokens.bytesOf(tokens.subarray(1)) }
    }
  }
}

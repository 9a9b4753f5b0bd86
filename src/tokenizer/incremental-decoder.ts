/** Decodes tokens as they arrive, without ever emitting part of a character. */
import type { Tokenizer } from './tokenizer.js'

/**
 * The concatenated results equal `decode` of all tokens, however they were split between calls. At most
 * three bytes are held back.
 */
export class IncrementalDecoder {
  readonly #tokenizer: Tokenizer
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  /** The text that is complete after these tokens; empty in the middle of a character. */
  feed(tokens: readonly number[]): string {
    return this.#utf8.decode(this.#tokenizer.decodeBytes(tokens), { stream: true })
  }

  /** Ends the text: an incomplete character comes out as U+FFFD. A new text may follow. */
  flush(): string {
    return this.#utf8.decode()
  }
}

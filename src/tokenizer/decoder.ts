/** Decoding as tokens arrive: text that is certain, never a part of a character. */
import type { Tokenizer } from './tokenizer.js'

/**
 * The texts it returns, joined, are what `decode` makes of all the tokens at once, however they were
 * fed. At most three bytes are held back.
 */
export class IncrementalDecoder {
  readonly #tokenizer: Tokenizer
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  /** The text that these tokens make certain; often empty in the middle of a character. */
  feed(tokens: readonly number[]): string {
    return this.#utf8.decode(this.#tokenizer.decodeBytes(tokens), { stream: true })
  }

  /** Ends the text: a character left unfinished comes out as U+FFFD. Then it starts afresh. */
  flush(): string {
    return this.#utf8.decode()
  }
}

/**
 * The text of a completion: takes tokens, and hands out text that is certain not to change. That is never
 * half a character, never part of a stop text, and nothing after the end-of-text token. Knows no request.
 */
import { IncrementalDecoder } from '../../../tokenizer/incremental-decoder.js'
import { StopMatcher } from '../../../tokenizer/stop-strings.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { TokenLogprob } from '../../protocol.js'

export interface Ends {
  /** Texts that end the completion. */
  stop: readonly string[]
  /** The token that ends it, if one does. */
  token: number | undefined
}

/** How much of a completion `take` has handed out. */
export interface HandedOut {
  readonly characters: number
  readonly tokens: number
}

/** Ids beyond the tokenizer's vocabulary, which a padded model has, stand for no text. */
export class Detokenizer {
  readonly tokens: number[] = []
  /** Parallel to `tokens`; undefined for tokens that were given, not inferred. */
  readonly logprobs: (TokenLogprob | undefined)[] = []
  /** How often each token occurs so far. */
  readonly counts = new Map<number, number>()
  /** All text that is certain. */
  text = ''
  /** An end was reached: nothing more is taken in. */
  ended = false
  private readonly decoder: IncrementalDecoder
  private readonly matcher: StopMatcher
  handedOut: HandedOut = { characters: 0, tokens: 0 }
  /** The end of `text` that it has not handed out. */
  private fresh = ''

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly ends: Ends,
  ) {
    this.decoder = new IncrementalDecoder(tokenizer)
    this.matcher = new StopMatcher(ends.stop)
  }

  push(token: number, logprob?: TokenLogprob): void {
    if (this.ended) return
    if (token === this.ends.token) {
      this.ended = true
      return
    }
    this.tokens.push(token)
    this.logprobs.push(logprob)
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1)
    if (token < this.tokenizer.vocabSize) this.append(this.decoder.feed([token]))
  }

  /** Nothing follows: text that was held back, since it could still have changed, is certain now. */
  flush(): void {
    this.append(this.decoder.flush())
    this.add(this.matcher.flush())
  }

  /** What was added since the last take: certain text, and tokens with their log-probabilities. */
  take(): { text: string; tokens: number; logprobs: TokenLogprob[] } {
    const { fresh: text, handedOut } = this
    const { tokens } = handedOut
    this.handedOut = { characters: this.text.length, tokens: this.tokens.length }
    this.fresh = ''
    return {
      text,
      tokens: this.tokens.length - tokens,
      logprobs: this.logprobs.slice(tokens).flatMap((entry) => entry ?? []),
    }
  }

  /** This completion as it was after its first `count` tokens, when so much had been handed out. */
  rewound(count: number, handedOut: HandedOut): Detokenizer {
    const earlier = new Detokenizer(this.tokenizer, this.ends)
    for (let i = 0; i < count; i++) earlier.push(this.tokens[i] as number, this.logprobs[i])
    earlier.resumeFrom(handedOut)
    return earlier
  }

  /** So much has been handed out. */
  resumeFrom(handedOut: HandedOut): void {
    this.handedOut = handedOut
    this.fresh = this.text.slice(handedOut.characters)
  }

  private append(text: string): void {
    const { emit, stopped } = this.matcher.feed(text)
    this.add(emit)
    this.ended ||= stopped
  }

  private add(text: string): void {
    this.text += text
    this.fresh += text
  }
}

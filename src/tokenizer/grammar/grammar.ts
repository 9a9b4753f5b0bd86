/**
 * What the text of a completion must match. Plain data: it crosses threads, and is kept with stored requests.
 * `param`: the field of the request, which errors name.
 */
export type Grammar = (
  | { type: 'regex'; pattern: string }
  | { type: 'choice'; choices: readonly string[] }
  /** Rules in the notation of GBNF, from `root` on. */
  | { type: 'ebnf'; rules: string }
) & { param: string }

/** Says which of the tokens may come next, and follows those that were chosen. */
export interface TokenMask {
  /**
   * One bit for each token, 32 to a word, lowest first: set where the token may follow those accepted so far.
   * Valid until the next call. Throws `not_supported` where that takes too long to find.
   */
  allowed(): Int32Array
  /** The tokens became part of the text. Each of them was allowed. */
  accept(tokens: readonly number[]): void
  /** The last `count` tokens are part of the text no more. */
  rewind(count: number): void
  close(): void
}

export const isAllowed = (mask: Int32Array, token: number): boolean =>
  (((mask[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"' }

/** A text as rules spell it. */
export const literal = (text: string): string =>
  `"${text.replace(/[\\"\p{Cc}]/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')
    return escapes[character] ?? `\\u${code}`
  })}"`

/** The rules by which a text is one of these. */
export const rulesOfChoices = (choices: readonly string[]): string =>
  `root ::= ${choices.map(literal).join(' | ')}`

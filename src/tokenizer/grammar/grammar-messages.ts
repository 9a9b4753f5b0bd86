/** What crosses the threads between token-masks.ts and grammar-thread.ts. */
import type { ErrorMessage } from '../../errors.js'
import type { Grammar } from './grammar.js'
import type { MaskMemory } from './mask-memory.js'

/** Which tokens the grammars of a thread are over. */
export interface GrammarThreadData {
  /** Of the tokenizer. */
  directory: string
  /** Tokens of the model, which may be more than those of the tokenizer. */
  tokens: number
}

/** `id`: of a text. A text that was opened is followed by the tokens that become part of it. */
export type ToGrammarThread =
  | { type: 'open'; id: number; grammar: Grammar; memory: MaskMemory }
  | { type: 'accept'; id: number; tokens: readonly number[] }
  | { type: 'rewind'; id: number; count: number }
  | { type: 'close'; id: number }

/** The reply to `open`. */
export type FromGrammarThread = { id: number; error?: ErrorMessage }

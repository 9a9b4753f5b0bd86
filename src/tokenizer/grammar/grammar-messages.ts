/** What crosses the threads between token-masks.ts and grammar-thread.ts. */
import type { ErrorMessage } from '../../errors.js'
import type { Grammar } from './grammar.js'
import type { Wakeup, MaskMemory } from './mask-memory.js'

/** Which tokens the grammars of a thread are over. */
export interface GrammarThreadData {
  /** Of the tokenizer. */
  directory: string
  /** Tokens of the model, which may be more than those of the tokenizer. */
  tokens: number
  /** Woken after each message, and after a change of a text where the thread sleeps. */
  wakeup: Wakeup
}

/** `id`: of a text, whose changes are in its memory. */
export type ToGrammarThread =
  { type: 'open'; id: number; grammar: Grammar; memory: MaskMemory } | { type: 'close'; id: number }

/** The reply to `open`. */
export type FromGrammarThread = { id: number; error?: ErrorMessage }

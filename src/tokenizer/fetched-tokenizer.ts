/**
 * A model's tokenizer from its files as a browser fetched them, from a server that has checked them. Imports
 * nothing that a browser lacks.
 */
import { BasinError } from '../errors.js'
import { assemble, characterTokenizer, type Tokenizer } from './assemble.js'
import { bytePairEncoder } from './byte-pairs.js'
import type { TokenizerDescriptor } from './descriptor.js'

/** Lines `base64(token) rank` as the bytes of each rank. */
const ranksOf = (text: string): Map<number, Uint8Array> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [token = '', rank] = line.split(' ')
        return [Number(rank), Uint8Array.from(atob(token), (byte) => byte.charCodeAt(0))]
      }),
  )

/** Whether `tokenizerFrom` can make it. */
export const runsInBrowsers = ({ kind }: TokenizerDescriptor): boolean =>
  kind === 'characters' || kind === 'tiktoken'

/** The file beside tokenizer.json that a tokenizer needs. */
export const fileBeside = (descriptor: TokenizerDescriptor): string | undefined =>
  descriptor.kind === 'tiktoken' ? descriptor.ranks : undefined

/**
 * `beside`: the text of the file that `fileBeside` names. Throws `not_supported` for kinds of tokenizers that
 * need a library of Node's.
 */
export function tokenizerFrom(descriptor: TokenizerDescriptor, beside: string): Tokenizer {
  const special = new Map(Object.entries(descriptor.special))
  const bos = descriptor.bos === undefined ? undefined : special.get(descriptor.bos)
  switch (descriptor.kind) {
    case 'characters':
      return characterTokenizer(descriptor.alphabet, special, bos)
    case 'tiktoken': {
      const ranks = ranksOf(beside)
      const encode = bytePairEncoder(ranks, descriptor.pattern, 'tokenizer.json')
      return assemble(ranks, special, bos, encode)
    }
    case 'encoding':
    case 'huggingface':
      throw new BasinError('not_supported', {
        param: 'model',
        reason: `a tokenizer of kind ${descriptor.kind} runs on a server only`,
      })
  }
}

/**
 * Turns text into tokens and tokens into text. It knows bytes and ids; it knows no model, no engine and
 * no request.
 *
 * Every string can be encoded: a lone surrogate, which UTF-8 cannot express, is read as U+FFFD. A
 * `tiktoken` tokenizer decodes to the text that it encoded (except lone surrogates); a `huggingface`
 * tokenizer decodes to the normalized text (GPT-NeoX: NFC); a `characters` tokenizer refuses characters
 * outside its alphabet.
 */
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { assemble, characterTokenizer, type Tokenizer } from './assemble.js'
import { readDescriptor } from './descriptor.js'
import { openEncoding } from './encodings.js'
import { readHuggingFace } from './huggingface.js'
import { readRanks } from './ranks.js'
import { tiktokenEncoder } from './tiktoken.js'

export type { EncodeOptions, Tokenizer } from './assemble.js'

/**
 * Opens `tokenizer.json` in a model directory. The files are untrusted input: throws
 * `invalid_tokenizer` naming the file and what is wrong with it.
 */
export function openTokenizer(directory: string): Tokenizer {
  const { path, descriptor, special } = readDescriptor(directory)
  const bos = descriptor.bos === undefined ? undefined : special.get(descriptor.bos)
  switch (descriptor.kind) {
    case 'characters':
      return characterTokenizer(descriptor.alphabet, special, bos)
    case 'tiktoken': {
      const ranks = readRanks(directory, descriptor.ranks, special)
      return assemble(ranks, special, bos, tiktokenEncoder(ranks, descriptor.pattern, path))
    }
    case 'encoding': {
      const { pattern, ranks, special: own } = openEncoding(descriptor.encoding)
      checkSpecial(special, own, path)
      return assemble(ranks, own, bos, tiktokenEncoder(ranks, pattern, path))
    }
    case 'huggingface': {
      const { encode, ordinary, special: own } = readHuggingFace(join(directory, descriptor.file))
      checkSpecial(special, own, path)
      return assemble(ordinary, own, bos, encode)
    }
  }
}

/** Checks that the descriptor's special tokens are among those of the tokenizer itself. */
function checkSpecial(
  described: ReadonlyMap<string, number>,
  own: ReadonlyMap<string, number>,
  path: string,
): void {
  for (const [name, id] of described) {
    if (own.get(name) === id) continue
    throw new BasinError('invalid_tokenizer', {
      path,
      reason: `special: ${JSON.stringify(name)} is not token ${id} of the tokenizer`,
    })
  }
}

/** Reading training text. Knows files; knows no token. */
import { readFileSync } from 'node:fs'
import { BasinError } from '../errors.js'

/** Throws `invalid_data` where the file cannot be read or is not UTF-8. */
export function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })
  }
}

/** The texts between separators, without the line ends around them; empty ones are left out. */
export const documentsOf = (text: string, separator: string): string[] =>
  text
    .split(separator)
    .map((document) => document.replace(/^[\r\n]+|[\r\n]+$/g, ''))
    .filter((document) => document !== '')

/** How importers say no: `invalid_checkpoint`, with texts of a foreign file made safe to print. */
import { BasinError } from '../../errors.js'

const LONGEST_QUOTE = 80

/** A text from the file, cut and escaped. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}...` : text)

export function refuse(path: string, reason: string, cause?: unknown): never {
  throw new BasinError('invalid_checkpoint', { path, reason }, { cause })
}

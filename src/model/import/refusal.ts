/** The error of all importers, `invalid_checkpoint`, with texts of the foreign file made safe to print. */
import { BasinError } from '../../errors.js'

const MAX_QUOTED_CHARACTERS = 80

/** A text of the file, shortened and escaped. */
export const quote = (text: string): string =>
  JSON.stringify(
    text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS)}...` : text,
  )

export function refuse(path: string, reason: string, cause?: unknown): never {
  throw new BasinError('invalid_checkpoint', { path, reason }, { cause })
}

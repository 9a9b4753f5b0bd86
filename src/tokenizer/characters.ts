/** A tokenizer with one token per character, for puzzles and toy languages. */
import { BasinError } from '../errors.js'

/** Ids are indices into the alphabet. Encoding throws `invalid_request` for any other character. */
export function characterEncoder(
  alphabet: readonly string[],
): (text: string, param: string) => number[] {
  const ids = new Map(alphabet.map((character, id) => [character, id]))
  return (text, param) =>
    Array.from(text, (character) => {
      const id = ids.get(character)
      if (id === undefined) {
        throw new BasinError('invalid_request', {
          param,
          reason: `${JSON.stringify(character)} is not in the model's alphabet`,
        })
      }
      return id
    })
}

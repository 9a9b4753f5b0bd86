/** One character, one token: puzzles and toy languages, where the alphabet is all there is. */
import { BasinError } from '../errors.js'

/** Ids are places in the alphabet. The encoding throws `invalid_request` naming a foreign character. */
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

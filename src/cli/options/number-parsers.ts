/** Parsers of numbers on the command line, with bounds. */
import { InvalidArgumentError } from 'commander'

const refusal = (kind: string, minimum: number, maximum: number): InvalidArgumentError => {
  const to = maximum < Number.MAX_SAFE_INTEGER ? ` to ${maximum}` : ' up'
  return new InvalidArgumentError(`It must be ${kind} from ${minimum}${to}.`)
}

/** Makes a parser for commander: an integer in [minimum, maximum]. */
export const integer =
  (minimum: number, maximum = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text)
    if (/^-?[0-9]+$/.test(text) && value >= minimum && value <= maximum) return value
    throw refusal('an integer', minimum, maximum)
  }

/** Makes a parser for commander: a number in [minimum, maximum]. */
export const real =
  (minimum: number, maximum = Number.MAX_VALUE) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() !== '' && value >= minimum && value <= maximum) return value
    throw refusal('a number', minimum, maximum)
  }

/** A parser for commander: integers from 0 up, separated by commas, such as 1,2,4. */
export const integerList = (text: string): number[] => text.split(',').map(integer(0))

/** A parser for commander: a range of shares such as 0.2-0.8, or one share. */
export function shareRange(text: string): { min: number; max: number } {
  const [min = NaN, max = min, ...more] = text.split('-').map(real(0, 1))
  if (more.length === 0 && min <= max) return { min, max }
  throw new InvalidArgumentError('It must be a range of shares such as 0.2-0.8.')
}

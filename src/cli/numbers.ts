/** Numbers on the command line: parsed once, with bounds, and refused in one line. */
import { InvalidArgumentError } from 'commander'

/** A parser for commander: an integer in [minimum, maximum]. */
export const integer =
  (minimum: number, maximum: number) =>
  (text: string): number => {
    const value = Number(text)
    if (/^-?[0-9]+$/.test(text) && value >= minimum && value <= maximum) return value
    throw new InvalidArgumentError(`It must be an integer from ${minimum} to ${maximum}.`)
  }

/** A parser for commander: a number in [minimum, maximum]. */
export const real =
  (minimum: number, maximum: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() !== '' && value >= minimum && value <= maximum) return value
    throw new InvalidArgumentError(`It must be a number from ${minimum} to ${maximum}.`)
  }

/** Refusals of numbers that rows of an engine's calls may not have. */
import { BasinError } from '../errors.js'

/** `bound`: what `param` must be. */
export const outOfRange = (param: string, bound: string, value: number): BasinError =>
  new BasinError('out_of_range', { param, bound, value })

/** Throws `out_of_range` unless `value` is an index below `limit`. */
export function checkRange(param: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit)
    throw outOfRange(param, `an integer from 0 to ${limit - 1}`, value)
}

/** Throws `out_of_range` for an array of another length. */
export function checkLength(param: string, numbers: Float32Array, length: number): void {
  if (numbers.length !== length) throw outOfRange(param, `${length} numbers`, numbers.length)
}

import { BasinError } from '../errors.js'

/** Throws `out_of_range` unless `value` is an index below `limit`. */
export function checkRange(param: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit)
    throw new BasinError('out_of_range', {
      param,
      bound: `an integer from 0 to ${limit - 1}`,
      value,
    })
}

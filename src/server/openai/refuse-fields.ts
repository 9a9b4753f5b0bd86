/** Refuses fields that the API defines and models here have no use for. */
import { BasinError } from '../../errors.js'
import type { Refusals } from '../schemas/openai-fields.js'

/** Throws `not_supported` for the first of these fields that has a value. */
export function refuseFields(body: object, refusals: Refusals): void {
  const given = Object.entries(body).find(([name, value]) => value !== null && name in refusals)
  if (!given) return
  const [param] = given
  throw new BasinError('not_supported', { param, reason: refusals[param] ?? '' })
}

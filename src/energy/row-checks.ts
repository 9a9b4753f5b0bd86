/**
 * What rows must be, whatever the engine. Each check throws `out_of_range` with the field. The native engine has
 * most of them in its addon, which trusts no number that it is given.
 */
import type { ModelConfig } from '../model/config.js'
import { stateWidth } from '../model/derived.js'
import type { BeginRow, DescendRow, EngineCapacity, EnergyRow, Push } from './engine.js'
import { checkLength, checkRange, outOfRange } from './range.js'

type Held = Pick<EngineCapacity, 'slots' | 'contexts'>

export function checkBegin(model: ModelConfig, { contexts, slots }: Held, row: BeginRow): void {
  const { clamped, contextId, slot, start } = row
  const { block } = model.answer
  checkRange('slot', slot, slots)
  checkRange('contextId', contextId, contexts)
  clamped?.forEach((token) => checkRange('clamped', token + 1, model.vocab_size + 1))
  if (clamped && clamped.length !== block)
    throw outOfRange('clamped', `${block} tokens`, clamped.length)
  if (start) checkLength('start', start, block * stateWidth(model))
}

/** A row of the energy of given answer tokens. */
export function checkAnswer(
  model: ModelConfig,
  { contexts }: Held,
  { answer, contextId }: Extract<EnergyRow, { answer: unknown }>,
): void {
  const { block } = model.answer
  checkRange('contextId', contextId, contexts)
  answer.forEach((token) => checkRange('answer', token, model.vocab_size))
  if (answer.length === 0 || answer.length > block)
    throw outOfRange('answer', `1 to ${block} tokens`, answer.length)
}

export type PushedRow = DescendRow & { push: Push }

/** Whether a row adds anything to the energy. */
export const isPushed = (row: DescendRow): row is PushedRow =>
  row.push?.logits !== undefined || row.push?.points !== undefined

export function checkPush(model: ModelConfig, row: DescendRow): void {
  if (!isPushed(row)) return
  const { acceptLower, push } = row
  const { block } = model.answer
  if (acceptLower) throw outOfRange('push', 'left out where only lower energies are accepted', 1)
  if (push.logits) checkLength('push.logits', push.logits, block * model.vocab_size)
  if (push.points) checkLength('push.points', push.points, block * model.dim)
}

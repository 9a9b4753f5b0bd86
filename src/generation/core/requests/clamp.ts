/**
 * A position of an answer is fixed, or opened, while the others settle: they go on from where they
 * stand, on the landscape of the new question. Energies before it are those of another question, so
 * the best answer is looked for from here on.
 */
import type { EnergyEngine } from '../../../energy/engine.js'
import { BasinError } from '../../../errors.js'
import type { ModelConfig } from '../../../model/config.js'
import { encodeTemplateOf } from '../../../tokenizer/answer-template.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import { type Answer, inSlots } from '../answers/answer.js'
import { BLANK } from '../answers/answer-shape.js'
import { BLANK_MARK } from './prepare.js'
import { beginRow, type CandidateRow, type RequestState } from './request-state.js'

const invalid = (param: string, reason: string) =>
  new BasinError('invalid_frame', { param, reason })

/** The token of a text that is one, or BLANK for the mark of a blank. Throws `invalid_frame`. */
export function clampToken(text: string, model: ModelConfig, tokenizer: Tokenizer): number {
  const [token, ...more] = encodeTemplateOf(model, tokenizer, text, 'text')
  if (token !== undefined && more.length === 0) return token
  const { blank = BLANK_MARK } = model.template ?? {}
  throw invalid('text', `it must be one token, or ${blank} for a blank`)
}

/** What the answer is to be clamped to. Throws `invalid_frame`. */
function clampedBy(answer: Answer, position: number, token: number): readonly number[] {
  const { clamped, length, position: first } = answer.shape
  if (!clamped) throw invalid('type', 'this answer has no template')
  const place = position - first
  if (place < 0 || place >= length) {
    throw invalid('position', `it must be from ${first} to ${first + length - 1}`)
  }
  const next = clamped.with(place, token)
  if (next.slice(0, length).includes(BLANK)) return next
  throw invalid('position', 'one position at least has to stay blank')
}

/** A position that a client fixes to a token, or opens. */
export interface Clamping {
  state: RequestState
  /** In the completion, in tokens. */
  position: number
  /** BLANK opens the position. */
  token: number
}

/**
 * Candidates that have ended stay where they are, and can no longer become the answer. Throws
 * `invalid_frame` where it cannot be done.
 */
export async function clampPosition(
  engine: EnergyEngine,
  { position, state, token }: Clamping,
): Promise<void> {
  const { answer } = state
  if (!answer) throw invalid('type', 'no answer is in descent')
  const before = answer.shape.clamped
  answer.shape.clamped = clampedBy(answer, position, token)
  // Those that are in no slot follow when they enter one.
  const rows = inSlots(answer).map(({ index }) => ({ state, index }))
  if (rows.length > 0) await clampAnswers(engine, rows, before)
  answer.askAnew()
}

/** Puts the clamped positions of an answer into effect on candidates of it for which they have been `before`. */
export async function clampAnswers(
  engine: EnergyEngine,
  candidates: readonly CandidateRow[],
  before: readonly number[] | undefined,
): Promise<void> {
  const rows = candidates.map((row) => beginRow(row))
  const present = rows.map(({ slot }) => ({ slot, which: 'present' as const }))
  const olds = await engine.points(present)
  // A position that opens begins where it would have begun.
  await engine.begin(rows)
  const afresh = await engine.points(present)
  const width = (olds[0] as Float32Array).length / engine.model.answer.block
  await engine.begin(
    rows.map((row, i) => {
      const opened = (at: number): boolean => row.clamped?.[at] === BLANK && before?.[at] !== BLANK
      const old = olds[i] as Float32Array
      const fresh = afresh[i] as Float32Array
      const start = old.map((x, j) => (opened(Math.floor(j / width)) ? (fresh[j] as number) : x))
      return { ...row, start }
    }),
  )
}

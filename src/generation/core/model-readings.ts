/** What the other models of requests say of candidates that have been read. Each model is asked once for all of them. */
import type { ModelReading } from '../../refine/terms/model-energy.js'
import { chancesOf } from '../../refine/terms/reading.js'
import type { TermReading } from './answers/answer-terms.js'
import type { PreparedModelTerm } from './requests/prepare-terms.js'
import { BLANK } from './answers/answer-shape.js'
import { type CandidateRow, candidateOf } from './requests/request-state.js'
import type { ModelAsk, TermModel } from './terms/term-model.js'

/** What a model is asked, and where its answer goes. */
interface Question {
  readonly ask: ModelAsk
  readonly take: (reading: ModelReading) => void
}

/** Adds `models` to the readings of those rows whose requests have other models among their terms. */
export async function addModelReadings(
  rows: readonly CandidateRow[],
  readings: readonly TermReading[],
): Promise<void> {
  const questions = new Map<TermModel, Question[]>()
  for (const [i, row] of rows.entries()) {
    const reading = readings[i]
    if (!reading) continue
    for (const term of row.state.terms?.models ?? []) {
      const asked = questions.get(term.model) ?? []
      questions.set(term.model, asked)
      for (const place of reading.present ? [reading, reading.present] : [reading])
        asked.push({
          ask: askOf(row, term, place.logits),
          take: (found) => (place.models = new Map(place.models).set(term.index, found)),
        })
    }
  }
  for (const [model, asked] of questions) {
    const found = await model.evaluate(asked.map(({ ask }) => ask))
    asked.forEach(({ take }, i) => {
      take(found[i] as ModelReading)
    })
  }
}

function askOf(row: CandidateRow, term: PreparedModelTerm, logits: Float32Array): ModelAsk {
  const { answer } = candidateOf(row)
  const { clamped, position } = answer.shape
  const { block, context, model, template } = term
  const tokenOf = (token: number): number =>
    token === BLANK ? BLANK : (model.map.to[token] ?? BLANK)
  const own = template?.slice(position, position + block)
  return {
    context,
    before: (answer.terms?.before ?? []).map(tokenOf).filter((token) => token !== BLANK),
    chances: chancesOf(logits, model.map.to.length).chances,
    clamped: own
      ? [...own, ...new Array<number>(block - own.length).fill(BLANK)]
      : clamped?.map(tokenOf),
  }
}

/** `--term`: a term of the energy as JSON, checked by the schema of requests. */
import { InvalidArgumentError } from 'commander'
import { Compile } from 'typebox/compile'
import { BasinError } from '../../errors.js'
import { refusal } from '../../server/schema-errors.js'
import { EnergyTerm } from '../../server/schemas/terms-schema.js'

const term = Compile(EnergyTerm)

/** One term, or a list of terms such as the `energy_terms` of a line of `basin tasks sudoku --variant`. */
export function appendTerms(text: string, before: EnergyTerm[] = []): EnergyTerm[] {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new InvalidArgumentError(
      'It must be JSON, such as {"type":"compare","less":0,"than":1,"required":true}.',
    )
  }
  const added: unknown[] = Array.isArray(json) ? json : [json]
  return [...before, ...added.map(checked)]
}

function checked(json: unknown): EnergyTerm {
  if (term.Check(json)) return json
  const error = refusal(term.Errors(json), json, 'term')
  throw error instanceof BasinError ? new InvalidArgumentError(error.message) : error
}

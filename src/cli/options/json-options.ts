/** Flags whose values are parts of a request, as JSON, checked by the schemas of requests. */
import { InvalidArgumentError } from 'commander'
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { BasinError } from '../../errors.js'
import { refusal } from '../../server/schema-errors.js'
import { Commit } from '../../server/schemas/settings-schema.js'
import { EnergyTerm } from '../../server/schemas/terms-schema.js'

/** Throws with an example where the text is no JSON. */
function parseJson(text: string, example: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError(`It must be JSON, such as ${example}.`)
  }
}

/** `what`: how errors call the value. */
function checkedBy<T extends TSchema>(schema: T, what: string): (json: unknown) => Static<T> {
  const compiled = Compile(schema)
  return (json) => {
    if (compiled.Check(json)) return json
    const error = refusal(compiled.Errors(json), json, what)
    throw error instanceof BasinError ? new InvalidArgumentError(error.message) : error
  }
}

const checkTerm = checkedBy(EnergyTerm, 'term')
const checkCommit = checkedBy(Commit, 'commit')

/** `--term`: a term, or a list of them such as the `energy_terms` of a line of `basin tasks sudoku --variant`. */
export function appendTerms(text: string, before: EnergyTerm[] = []): EnergyTerm[] {
  const json = parseJson(text, '{"type":"compare","less":0,"than":1,"required":true}')
  const added: unknown[] = Array.isArray(json) ? json : [json]
  return [...before, ...added.map(checkTerm)]
}

/** `--commit` */
export const parseCommit = (text: string): Static<typeof Commit> =>
  checkCommit(parseJson(text, '{"share":0.25}'))

/**
 * From the `energy_terms` of a request to the terms of a request for an engine: which fields a type has, and
 * what the operator allows. Knows no tokenizer; the worker checks positions and texts.
 */
import { BasinError } from '../../errors.js'
import type { EngineRequest, TermRequest, TermRule } from '../../generation/protocol.js'
import type { EnergyTerm } from '../schemas/terms-schema.js'

/** The operator's caps on the terms of one request. */
export interface TermCaps {
  readonly terms: number
  /** Summed over the terms; a term without positions counts as one. */
  readonly positions: number
  /** Of type `model`: each costs as much as a step of that model. */
  readonly models: number
}

export const defaultTermCaps: TermCaps = Object.freeze({ terms: 64, positions: 4096, models: 2 })

/** Another model counts as much as the one that answers, in its own units. */
const DEFAULT_MODEL_WEIGHT = 1
/** Puzzle models of this project solve most with weights from 20 to 60 (docs/composition.md). */
const DEFAULT_WEIGHT = 20
/** The distribution of a sum has one number for each value up to it. */
const LARGEST_SUM = 1000

type Field = Exclude<keyof EnergyTerm, 'type' | 'weight' | 'required' | 'tolerance'>

const fields: Record<EnergyTerm['type'], { needs: readonly Field[]; may?: readonly Field[] }> = {
  distinct: { needs: ['positions'] },
  sum: { needs: ['positions', 'equals'] },
  compare: { needs: ['less', 'than'] },
  token: { needs: ['position', 'tokens'], may: ['not'] },
  contains: { needs: ['text'] },
  count: { needs: ['token', 'equals'] },
  similar: { needs: ['text'] },
  model: { needs: ['model'], may: ['prompt', 'template'] },
}

const shared = ['type', 'weight', 'required', 'tolerance']

const invalid = (param: string, reason: string) =>
  new BasinError('invalid_request', { param, reason })

/** Throws `invalid_request` or `out_of_range` naming the field, such as `energy_terms[2].equals`. */
export function termsFrom(asked: readonly EnergyTerm[], caps: TermCaps): readonly TermRequest[] {
  checkCap('energy_terms', 'terms', asked.length, caps.terms)
  const terms = asked.map((term, index): TermRequest => {
    const { required, tolerance, type } = term
    const { weight = type === 'model' ? DEFAULT_MODEL_WEIGHT : DEFAULT_WEIGHT } = term
    return {
      weight,
      ...(required !== undefined && { required }),
      ...(tolerance !== undefined && { tolerance }),
      ...ruleOf(term, `energy_terms[${index}]`),
    }
  })
  const positions = asked.reduce((sum, { positions: all }) => sum + (all?.flat().length ?? 1), 0)
  checkCap('energy_terms', 'positions in all', positions, caps.positions)
  const models = asked.filter(({ type }) => type === 'model').length
  checkCap('energy_terms', 'of type model', models, caps.models)
  return terms
}

function checkCap(param: string, what: string, value: number, most: number): void {
  if (value <= most) return
  throw new BasinError('out_of_range', { param, bound: `at most ${most} ${what}`, value })
}

/** Of the fields that its type needs. */
function ruleOf(term: EnergyTerm, param: string): TermRule {
  const { type } = term
  const { may = [], needs } = fields[type]
  const missing = needs.find((field) => term[field] === undefined)
  if (missing) throw invalid(`${param}.${missing}`, `is required for a term of type ${type}`)
  const known: readonly string[] = [...shared, ...needs, ...may]
  const other = Object.keys(term).find((field) => !known.includes(field))
  if (other) throw invalid(`${param}.${other}`, `is not a field of a term of type ${type}`)
  const { equals = 0, less = 0, not, position = 0, text = '', than = 0, token = '' } = term
  const { positions = [], tokens = [] } = term
  switch (type) {
    case 'distinct':
      return { type, positions: groupsOf(positions, `${param}.positions`) }
    case 'sum': {
      const flat = positions.filter((each) => typeof each === 'number')
      if (flat.length < positions.length)
        throw invalid(`${param}.positions`, 'must be one list of positions for a sum')
      if (new Set(flat).size < flat.length)
        throw invalid(`${param}.positions`, 'must not name a position twice')
      if (equals > LARGEST_SUM) {
        const bound = `at most ${LARGEST_SUM} for a sum`
        throw new BasinError('out_of_range', { param: `${param}.equals`, bound, value: equals })
      }
      return { type, positions: flat, equals }
    }
    case 'compare':
      if (less === than) throw invalid(`${param}.than`, 'must be another position than less')
      return { type, less, than }
    case 'token':
      return { type, position, tokens, ...(not !== undefined && { not }) }
    case 'contains':
    case 'similar':
      return { type, text }
    case 'count':
      return { type, token, equals }
    case 'model': {
      const { model = '', prompt, template } = term
      return {
        type,
        model,
        ...(prompt !== undefined && { prompt }),
        ...(template !== undefined && { template }),
      }
    }
  }
}

/** Where a model is, by its name and the field that names it. Throws what is wrong with the name. */
type PlaceOf = (name: string, param: string) => string

/** Says where the models are that the terms of a request name. */
export function placeTermModels<T extends Pick<EngineRequest, 'terms'>>(
  request: T,
  placeOf: PlaceOf,
): T {
  const { terms } = request
  if (!terms?.some(({ type }) => type === 'model')) return request
  const placed = terms.map((term, index): TermRequest => {
    if (term.type !== 'model') return term
    return { ...term, directory: placeOf(term.model, `energy_terms[${index}].model`) }
  })
  return { ...request, terms: placed }
}

/** One list is one group. */
function groupsOf(positions: readonly (number | number[])[], param: string): number[][] {
  const lists = positions.filter((each) => typeof each !== 'number')
  const single = positions.filter((each) => typeof each === 'number')
  if (lists.length > 0 && single.length > 0)
    throw invalid(param, 'must be one list of positions, or a list of such lists')
  const groups = lists.length > 0 ? lists : [single]
  for (const group of groups) {
    if (group.length < 2) throw invalid(param, 'must have at least two positions in each group')
    if (new Set(group).size < group.length)
      throw invalid(param, 'must not name a position twice in a group')
  }
  return groups
}

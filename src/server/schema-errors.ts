/**
 * From what a schema found wrong to one error that names the field and its bound. Knows JSON
 * pointers and schema keywords, and neither routes nor sockets.
 */
import { Pointer } from 'typebox/value'
import { BasinError, type Facts } from '../errors.js'

/** The part of a schema error that is read here; ajv and typebox agree on it. */
export interface SchemaError {
  keyword: string
  instancePath: string
  params?: Readonly<Record<string, unknown>>
  message?: string
}

/** How much an error says: those of a union's other branches say that the type is another. */
function weight({ keyword }: SchemaError): number {
  if (keyword === 'boolean') return -1
  if (keyword === 'type' || keyword === 'const') return 0
  return keyword === 'anyOf' ? 1 : 2
}

const parameter = (path: string): string =>
  path.slice(1).replaceAll('~1', '/').replaceAll('~0', '~').replaceAll('/', '.')

const isNumberBound = (keyword: string): boolean =>
  ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'].includes(keyword)

/** The types a value may have, when it has none of them. */
function typesAt(path: string, errors: readonly SchemaError[]): string {
  const types = errors
    .filter(({ keyword, instancePath }) => keyword === 'type' && instancePath === path)
    .flatMap(({ params }) => params?.['type'] as string | string[])
  return [...new Set(types)].join(' or ')
}

/** `whole`: what messages call the value as a whole. */
function facts(first: SchemaError, errors: readonly SchemaError[], whole: string): Facts {
  const names = first.params?.['additionalProperties'] ?? first.params?.['requiredProperties']
  if (Array.isArray(names)) {
    const param = parameter(`${first.instancePath}/${String(names[0])}`)
    const known = first.keyword === 'required'
    return { param, reason: known ? 'is required' : 'is not a field of this request' }
  }
  const param = parameter(first.instancePath) || whole
  if (first.keyword === 'type' || first.keyword === 'anyOf') {
    return { param, reason: `must be ${typesAt(first.instancePath, errors) || 'of another form'}` }
  }
  if (first.keyword === 'enum') {
    const allowed = first.params?.['allowedValues'] as unknown[]
    return { param, reason: `must be one of ${allowed.join(', ')}` }
  }
  return { param, reason: first.message ?? 'is invalid' }
}

/** `value`: what was checked. At least one error. */
export function refusal(errors: readonly SchemaError[], value: unknown, whole: string): BasinError {
  const first = errors.reduce((best, error) => (weight(error) > weight(best) ? error : best))
  if (isNumberBound(first.keyword)) {
    return new BasinError('out_of_range', {
      param: parameter(first.instancePath),
      bound: (first.message ?? '').replace(/^must be /, ''),
      value: String(Pointer.Get(value, first.instancePath)),
    })
  }
  const said = facts(first, errors, whole)
  const wrongUnion = first.keyword === 'anyOf' && isComposite(value, first.instancePath)
  return new BasinError(
    'invalid_request',
    wrongUnion ? { ...said, reason: 'its parts have the wrong types' } : said,
  )
}

/** Of a list or object in the wrong form, the types of its parts are to blame, not its own. */
const isComposite = (value: unknown, path: string): boolean => {
  const part: unknown = Pointer.Get(value, path)
  return typeof part === 'object' && part !== null
}

/**
 * From the errors of a schema's validation to one that names the field and its bound. Knows JSON pointers
 * and schema keywords, and neither routes nor sockets.
 */
import { Pointer } from 'typebox/value'
import { BasinError, type Facts } from '../errors.js'
import { meantField } from './other-servers.js'

/** The fields of a validation error that are used here; those of ajv and typebox agree. */
export interface SchemaError {
  keyword: string
  instancePath: string
  params?: Readonly<Record<string, unknown>>
  message?: string
}

/**
 * How much an error says. A union reports the errors of all its branches, most of which only say that the
 * value is of another branch's type.
 */
function weight({ keyword }: SchemaError): number {
  if (keyword === 'boolean') return -1
  if (keyword === 'type' || keyword === 'const') return 0
  return keyword === 'anyOf' ? 1 : 2
}

const parameter = (path: string): string =>
  path.slice(1).replaceAll('~1', '/').replaceAll('~0', '~').replaceAll('/', '.')

const isNumberBound = (keyword: string): boolean =>
  ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'].includes(keyword)

/** The types that the value at `path` may have, in words. */
function typesAt(path: string, errors: readonly SchemaError[]): string {
  const types = errors
    .filter(({ keyword, instancePath }) => keyword === 'type' && instancePath === path)
    .flatMap(({ params }) => params?.['type'] as string | string[])
  return [...new Set(types)].join(' or ')
}

/** `whole`: what messages call the value itself where no field of it is at fault. */
function facts(first: SchemaError, errors: readonly SchemaError[], whole: string): Facts {
  const names = first.params?.['additionalProperties'] ?? first.params?.['requiredProperties']
  if (Array.isArray(names)) {
    const param = parameter(`${first.instancePath}/${String(names[0])}`)
    if (first.keyword === 'required') return { param, reason: 'is required' }
    const meant = meantField(param)
    const hint = meant === undefined ? '' : `; use ${meant}`
    return { param, reason: `is not a field of this request${hint}` }
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

/** `value`: what was validated. `errors`: at least one. */
export function refusal(errors: readonly SchemaError[], value: unknown, whole: string): BasinError {
  const first = errors.reduce((best, error) => (weight(error) > weight(best) ? error : best))
  if (isNumberBound(first.keyword)) {
    return new BasinError('out_of_range', {
      param: parameter(first.instancePath),
      bound: (first.message ?? '').replace(/^must be /, ''),
      value: String(Pointer.Get(value, first.instancePath)),
    })
  }
  const found = facts(first, errors, whole)
  const wrongUnion = first.keyword === 'anyOf' && isComposite(value, first.instancePath)
  return new BasinError(
    'invalid_request',
    wrongUnion ? { ...found, reason: 'its parts have the wrong types' } : found,
  )
}

/** Where a list or an object matches no branch of a union, the types of its parts are wrong and not its own. */
const isComposite = (value: unknown, path: string): boolean => {
  const part: unknown = Pointer.Get(value, path)
  return typeof part === 'object' && part !== null
}

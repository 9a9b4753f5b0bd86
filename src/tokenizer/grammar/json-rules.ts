/**
 * JSON schemas as rules for texts. Every text that matches the rules is JSON that matches the schema; a keyword
 * that the rules cannot keep is refused by its name. Of what a schema allows, texts have one line, `, ` and `: `
 * between, properties in the order of the schema and no others unless none is named, and numbers of at most 15
 * digits before and after the point, so that a model comes to their end. Pure.
 */
import { BasinError } from '../../errors.js'
import { literal } from './grammar.js'
import { FREE_DIGITS, integersBetween } from './number-rules.js'
import { PLAIN, rulesOfPattern } from './pattern-rules.js'

type Schema = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Words about a schema, which no text can break. */
const annotations = [
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
]

/** Keywords by the type of value that they are about. */
const keywords: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  number: [],
  boolean: [],
  null: [],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties'],
}

const fraction = `[0-9]{1,${FREE_DIGITS}}`
const whole = `("0" | [1-9] [0-9]{0,${FREE_DIGITS - 1}})`

const QUOTE = '"\\""'

/**
 * The characters of a text, of which each is followed by `next`. The plain ones stand in the rule itself, and what
 * follows within it: so the compiler knows for each place in a text, once and for all, which tokens fit. A rule for
 * one character would make it ask for nearly all of them again at every token.
 */
const characterThen = (next: string): string => `${PLAIN} ${next} | "\\\\" escape ${next}`

/** Values of any kind. A \\u escape is a character of its own: no half of a pair. */
const basics: Readonly<Record<string, string>> = {
  hex: '[0-9A-Fa-f]',
  escape: '["\\\\/bfnrt] | "u" ([0-9A-Ca-cEeFf] hex hex hex | [Dd] [0-7] hex hex)',
  rest: `${QUOTE} | ${characterThen('rest')}`,
  string: `${QUOTE} rest`,
  integer: `"0" | "-"? [1-9] [0-9]{0,${FREE_DIGITS - 1}}`,
  number: `"-"? ${whole} ("." ${fraction})? ([eE] [+-]? [0-9]{1,2})?`,
  boolean: '"true" | "false"',
  null: '"null"',
  array: '"[]" | "[" any (", " any)* "]"',
  object: '"{}" | "{" string ": " any (", " string ": " any)* "}"',
  any: 'string | number | boolean | null | array | object',
}

const two = (low: number, high: number): string => `(${twoDigits(low, high)})`
const twoDigits = (low: number, high: number): string =>
  Array.from({ length: high - low + 1 }, (_, i) => `"${String(low + i).padStart(2, '0')}"`).join(
    ' | ',
  )

// Days up to 28 are in every month.
const date = `[1-2] [0-9]{3} "-" ${two(1, 12)} "-" ${two(1, 28)}`
const time = `${two(0, 23)} ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"`
const hexDigits = (count: number): string => `[0-9a-f]{${count}}`
const byte = integersBetween(0, 255) ?? ''

const formats: Readonly<Record<string, string>> = {
  date,
  time,
  'date-time': `${date} "T" ${time}`,
  email: '[a-z0-9]{1,20} ("." [a-z0-9]{1,20})? "@" [a-z0-9]{1,20} "." [a-z]{2,10}',
  ipv4: `${byte} "." ${byte} "." ${byte} "." ${byte}`,
  uuid: [8, 4, 4, 4, 12].map(hexDigits).join(' "-" '),
}

/** Of a text or a list; a longer one would take too long to compile. */
const LARGEST_COUNT = 2000
/**
 * Characters of a text that are counted one by one, each with a rule of its own; of a longer one, so many at a time.
 * A rule takes a millisecond to compile with 4,096 tokens.
 */
const BLOCK = 32
const LARGEST_INTEGER = 10 ** FREE_DIGITS - 1

class RuleWriter {
  private readonly rules = new Map<string, string>(Object.entries(basics))
  /** Names of the rules of schemas that are referred to, by their pointers. */
  private readonly references = new Map<string, string>()

  constructor(
    private readonly root: unknown,
    private readonly param: string,
  ) {}

  write(): string {
    this.rules.set('root', this.value(this.root, this.param))
    return [...this.rules].map(([name, expression]) => `${name} ::= ${expression}`).join('\n')
  }

  private refuse(path: string, reason: string): never {
    throw new BasinError('not_supported', { param: path, reason })
  }

  private rule(expression: string): string {
    const name = `rule${this.rules.size}`
    this.rules.set(name, expression)
    return name
  }

  /** An expression for the values of a schema. `path`: of the schema in the request. */
  private value(schema: unknown, path: string): string {
    if (schema === true) return 'any'
    if (!isObject(schema)) {
      throw new BasinError('invalid_request', { param: path, reason: 'must be a JSON schema' })
    }
    for (const keyword of ['$ref', 'enum', 'const', 'anyOf', 'allOf'] as const) {
      if (!(keyword in schema)) continue
      const others = keyword === 'enum' || keyword === 'const' ? ['type'] : []
      this.checkKeywords(schema, [keyword, ...others], path)
      return this[keyword](schema[keyword], `${path}.${keyword}`)
    }
    const types = this.typesOf(schema, path)
    this.checkKeywords(schema, ['type', ...types.flatMap((type) => keywords[type] ?? [])], path)
    if (types.length === 0) return 'any'
    return `(${types.map((type) => this.ofType(type, schema, path)).join(' | ')})`
  }

  private checkKeywords(schema: Schema, kept: readonly string[], path: string): void {
    const other = Object.keys(schema).find(
      (keyword) => !annotations.includes(keyword) && !kept.includes(keyword),
    )
    if (other !== undefined) this.refuse(`${path}.${other}`, 'texts cannot be held to it here')
  }

  private typesOf(schema: Schema, path: string): string[] {
    const { type } = schema
    if (type === undefined) {
      if ('properties' in schema) return ['object']
      return 'items' in schema ? ['array'] : []
    }
    const types = (Array.isArray(type) ? type : [type]).map(String)
    const unknown = types.find((each) => !Object.hasOwn(keywords, each))
    if (unknown === undefined && types.length > 0) return types
    const reason = `must be one of ${Object.keys(keywords).join(', ')}`
    throw new BasinError('invalid_request', { param: `${path}.type`, reason })
  }

  private $ref(pointer: unknown, path: string): string {
    if (typeof pointer !== 'string' || !/^#(\/|$)/.test(pointer)) {
      this.refuse(path, 'it must point into this schema, as #/$defs/name does')
    }
    const known = this.references.get(pointer)
    if (known !== undefined) return known
    const name = `ref${this.references.size}`
    this.references.set(pointer, name)
    this.rules.set(name, this.value(this.find(pointer, path), path))
    return name
  }

  private find(pointer: string, path: string): unknown {
    let found = this.root
    for (const part of pointer.split('/').slice(1)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      if (!isObject(found) || !Object.hasOwn(found, key)) {
        throw new BasinError('invalid_request', { param: path, reason: `${pointer} is not there` })
      }
      found = found[key]
    }
    return found
  }

  private enum(values: unknown, path: string): string {
    return `(${this.list(values, path)
      .map((value) => literal(JSON.stringify(value)))
      .join(' | ')})`
  }

  private const(value: unknown): string {
    return literal(JSON.stringify(value))
  }

  private anyOf(schemas: unknown, path: string): string {
    const all = this.list(schemas, path).map((each, i) => this.value(each, `${path}.${i}`))
    return `(${all.join(' | ')})`
  }

  private allOf(schemas: unknown, path: string): string {
    const [only, ...more] = this.list(schemas, path)
    if (more.length > 0) this.refuse(path, 'it must have one schema')
    return this.value(only, `${path}.0`)
  }

  private list(value: unknown, path: string): unknown[] {
    if (Array.isArray(value) && value.length > 0) return value
    throw new BasinError('invalid_request', { param: path, reason: 'must be a list, not empty' })
  }

  private ofType(type: string, schema: Schema, path: string): string {
    switch (type) {
      case 'string':
        return this.string(schema, path)
      case 'integer':
        return this.integer(schema, path)
      case 'array':
        return this.array(schema, path)
      case 'object':
        return this.object(schema, path)
      default:
        return type
    }
  }

  private string(schema: Schema, path: string): string {
    const { format, pattern } = schema
    const rules = ['format', 'pattern', 'minLength'].filter((keyword) => keyword in schema)
    if (!('minLength' in schema) && 'maxLength' in schema) rules.push('maxLength')
    const [first, second] = rules
    if (second !== undefined)
      this.refuse(`${path}.${second}`, `${first ?? ''} must be the only rule for a text`)
    if (typeof format === 'string') {
      const expression = Object.hasOwn(formats, format) ? formats[format] : undefined
      if (expression !== undefined) return `"\\"" ${expression} "\\""`
      this.refuse(`${path}.format`, `it must be one of ${Object.keys(formats).join(', ')}`)
    }
    if (typeof pattern === 'string') return `"\\"" ${this.pattern(pattern, path)} "\\""`
    if (rules.length === 0) return 'string'
    const { high, low } = this.bounds(schema, 'minLength', 'maxLength', path)
    return `${QUOTE} ${this.charactersAndQuote(low, high)}`
  }

  /** The rule of so many characters and the closing quote. */
  private charactersAndQuote(low: number, high = Infinity): string {
    if (low > BLOCK) return `${this.block()} ${this.charactersAndQuote(low - BLOCK, high - BLOCK)}`
    if (high === Infinity || high <= 2 * BLOCK) return this.countedRule(low, high)
    const rest = this.charactersAndQuote(0, high - BLOCK)
    return this.shared(
      `text-${low}-${high}`,
      () => `${this.countedRule(low, BLOCK)} | ${this.block()} ${rest}`,
    )
  }

  private countedRule(low: number, high: number): string {
    if (low === 0 && high === Infinity) return 'rest'
    return this.shared(`text-${low}-${high}`, () => {
      const more = () => characterThen(this.countedRule(Math.max(0, low - 1), high - 1))
      return [...(low === 0 ? [QUOTE] : []), ...(high > 0 ? [more()] : [])].join(' | ')
    })
  }

  /** The rule of BLOCK characters, or of the last of them from number `from` on. */
  private block(from = 0): string {
    return this.shared(`block-${from}`, () =>
      characterThen(from + 1 < BLOCK ? this.block(from + 1) : '""'),
    )
  }

  private shared(name: string, expression: () => string): string {
    if (!this.rules.has(name)) this.rules.set(name, expression())
    return name
  }

  private pattern(pattern: string, path: string): string {
    try {
      return rulesOfPattern(pattern)
    } catch (error) {
      return this.refuse(`${path}.pattern`, (error as Error).message)
    }
  }

  private bounds(schema: Schema, least: string, most: string, path: string) {
    const low = this.count(schema, least, path) ?? 0
    const high = this.count(schema, most, path)
    if (high === undefined || high >= low) return { low, high }
    const reason = `is below ${least}`
    throw new BasinError('invalid_request', { param: `${path}.${most}`, reason })
  }

  /** `{least,most}`, less `taken` of each. */
  private times(schema: Schema, least: string, most: string, path: string, taken = 0): string {
    const { high, low } = this.bounds(schema, least, most, path)
    return `{${Math.max(0, low - taken)},${high === undefined ? '' : Math.max(0, high - taken)}}`
  }

  private count(schema: Schema, keyword: string, path: string): number | undefined {
    const value = schema[keyword]
    if (value === undefined) return undefined
    const known = Number.isInteger(value) && (value as number) >= 0
    if (known && (value as number) <= LARGEST_COUNT) return value as number
    throw new BasinError('out_of_range', {
      param: `${path}.${keyword}`,
      bound: `an integer from 0 to ${LARGEST_COUNT}`,
      value: JSON.stringify(value),
    })
  }

  private integer(schema: Schema, path: string): string {
    if (!(keywords['integer'] ?? []).some((keyword) => keyword in schema)) return 'integer'
    const bound = (keyword: string): number | undefined => {
      const value = schema[keyword]
      if (value === undefined) return undefined
      if (typeof value === 'number' && Math.abs(value) <= LARGEST_INTEGER) return value
      const bounds = `a number from -${LARGEST_INTEGER} to ${LARGEST_INTEGER}`
      throw new BasinError('out_of_range', {
        param: `${path}.${keyword}`,
        bound: bounds,
        value: JSON.stringify(value),
      })
    }
    const low = Math.max(
      Math.ceil(bound('minimum') ?? -LARGEST_INTEGER),
      Math.floor((bound('exclusiveMinimum') ?? -LARGEST_INTEGER - 1) + 1),
    )
    const high = Math.min(
      Math.floor(bound('maximum') ?? LARGEST_INTEGER),
      Math.ceil((bound('exclusiveMaximum') ?? LARGEST_INTEGER + 1) - 1),
    )
    const expression = integersBetween(low, high)
    if (expression !== undefined) return expression
    const reason = 'no integer is within its bounds'
    throw new BasinError('invalid_request', { param: path, reason })
  }

  private array(schema: Schema, path: string): string {
    const { items, prefixItems } = schema
    const first = prefixItems === undefined ? [] : this.list(prefixItems, `${path}.prefixItems`)
    const each = first.map((item, i) => this.value(item, `${path}.prefixItems.${i}`))
    if (items === false || (first.length > 0 && items === undefined)) {
      const most = this.count(schema, 'maxItems', path) ?? each.length
      const least = this.count(schema, 'minItems', path) ?? 0
      if (most >= each.length && least <= each.length) return `"[" ${each.join(' ", " ')} "]"`
      this.refuse(path, 'prefixItems without items are a list of just these')
    }
    const item = items === undefined ? 'any' : this.rule(this.value(items, `${path}.items`))
    if (each.length > 0) {
      const times = this.times(schema, 'minItems', 'maxItems', path, each.length)
      return `"[" ${each.join(' ", " ')} (", " ${item})${times} "]"`
    }
    const least = this.count(schema, 'minItems', path) ?? 0
    const some =
      this.count(schema, 'maxItems', path) === 0
        ? []
        : [`"[" ${item} (", " ${item})${this.times(schema, 'minItems', 'maxItems', path, 1)} "]"`]
    return `(${[...(least === 0 ? ['"[]"'] : []), ...some].join(' | ')})`
  }

  private object(schema: Schema, path: string): string {
    const { additionalProperties: additional, properties = {}, required = [] } = schema
    if (!isObject(properties) || !Array.isArray(required)) {
      const reason = 'properties must be an object, required a list'
      throw new BasinError('invalid_request', { param: path, reason })
    }
    const missing = (required as unknown[]).find((name) => !Object.hasOwn(properties, String(name)))
    if (missing !== undefined) {
      this.refuse(`${path}.required`, `${JSON.stringify(missing)} is not among the properties`)
    }
    const members = Object.entries(properties).map(([name, property]) => {
      const value = this.rule(this.value(property, `${path}.properties.${name}`))
      const member = `${literal(JSON.stringify(name))} ": " ${value}`
      return { member, isRequired: required.includes(name) }
    })
    if (members.length > 0) return `"{" ${this.members(members)} "}"`
    if (additional === false) return '"{}"'
    if (additional === undefined || additional === true) return 'object'
    const value = this.rule(this.value(additional, `${path}.additionalProperties`))
    return `("{}" | "{" string ": " ${value} (", " string ": " ${value})* "}")`
  }

  /** In their order, with commas between those that are there. */
  private members(members: readonly { member: string; isRequired: boolean }[]): string {
    /** What follows where some member is there already, and where none is. */
    let after = '""'
    let first = '""'
    for (const { isRequired, member } of [...members].reverse()) {
      const here = after === '""' ? '' : ` ${after}`
      const otherwise = isRequired ? [] : [after, first]
      const [later, alone] = [
        [`", " ${member}${here}`, ...otherwise.slice(0, 1)],
        [`${member}${here}`, ...otherwise.slice(1)],
      ]
      after = this.rule(later.join(' | '))
      first = this.rule(alone.join(' | '))
    }
    return first
  }
}

/** `param`: the field of the request that holds the schema. Throws `not_supported`, `invalid_request`. */
export const rulesOfSchema = (schema: unknown, param: string): string =>
  new RuleWriter(schema, param).write()

/** Rules for any JSON object. */
export const rulesOfObject = (): string => rulesOfSchema({ type: 'object' }, '')

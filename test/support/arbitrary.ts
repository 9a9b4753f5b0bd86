/** Generates values for a JSON schema from a seed: mostly valid ones, and ones with a single fault. */

export type Random = () => number

/** Mulberry32: uniform in [0, 1). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface Schema {
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  oneOf?: Schema[]
  properties?: Record<string, Schema>
  patternProperties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minItems?: number
  maxItems?: number
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
}

export const pick = <T>(random: Random, values: readonly T[]): T =>
  values[Math.floor(random() * values.length)] as T

const texts = [
  'once upon a time',
  'a',
  ' ',
  '',
  '_',
  '__a_',
  'letters',
  '\u0000',
  'Ü',
  '😀',
  '\ud800',
  '../../etc/passwd',
  '__proto__',
  'constructor',
  '{{7*7}}',
  '%00',
  "'; --",
  'null',
  '-1',
]

/** Values of the wrong type, of extreme size or of unexpected shape. */
const strange = (random: Random): unknown =>
  pick<() => unknown>(random, [
    () => null,
    () => true,
    () => -1,
    () => 0,
    () => 2 ** 53,
    () => -(2 ** 31),
    () => 1e308,
    () => 0.1 + 0.2,
    () => pick(random, texts),
    () => 'x'.repeat(Math.floor(random() * 5000)),
    () => [],
    () => ({}),
    () => [[[[null]]]],
    () => ({ role: 'user', content: [{ type: 'text', text: null }] }),
    () => Array.from({ length: Math.floor(random() * 100) }, () => 1),
  ])()

function numberOf(schema: Schema, whole: boolean, random: Random): number {
  const low = Math.max(schema.minimum ?? -10, -1e9)
  const high = Math.min(schema.maximum ?? 100, 1e9)
  const near = Math.min(high, low + 20)
  const value = pick(random, [low, high, near, low + random() * (near - low)])
  return whole ? Math.floor(value) : value
}

function textOf({ maxLength = 64, minLength = 0 }: Schema, random: Random): string {
  const text = pick(random, random() < 0.5 ? ['once upon a time', 'a'] : texts)
  return text.length < minLength ? text.padEnd(minLength, 'a') : text.slice(0, maxLength)
}

function objectOf(schema: Schema, random: Random): object {
  const { patternProperties = {}, properties = {}, required = [] } = schema
  // With many optional fields, values that are valid one by one seldom are valid together.
  const share = pick(random, [0, 0.1, 0.25])
  const chosen = Object.entries(properties).filter(
    ([name]) => required.includes(name) || random() < share,
  )
  const patterned = Object.values(patternProperties).map(
    (each) => [String(Math.floor(random() * 40)), valueOf(each, random)] as const,
  )
  return Object.fromEntries([
    ...chosen.map(([name, each]) => [name, valueOf(each, random)] as const),
    ...patterned,
  ])
}

/** A value that the schema mostly allows. */
export function valueOf(schema: Schema, random: Random): unknown {
  if (schema.const !== undefined) return schema.const
  if (schema.enum) return pick(random, schema.enum)
  const branches = schema.anyOf ?? schema.oneOf
  if (branches) return valueOf(pick(random, branches), random)
  const type = Array.isArray(schema.type) ? pick(random, schema.type) : schema.type
  switch (type) {
    case 'integer':
    case 'number':
      return numberOf(schema, type === 'integer', random)
    case 'string':
      return textOf(schema, random)
    case 'boolean':
      return random() < 0.5
    case 'null':
      return null
    case 'array': {
      const most = Math.min(schema.maxItems ?? 4, 4)
      const length = Math.max(schema.minItems ?? 0, Math.floor(random() * (most + 1)))
      return Array.from({ length }, () => valueOf(schema.items ?? {}, random))
    }
    case 'object':
      return objectOf(schema, random)
    default:
      return strange(random)
  }
}

/** A copy with one fault somewhere: a wrong value, a wrong name or a missing part. */
export function damaged(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random() < 0.1) return strange(random)
  if (Array.isArray(value)) {
    const list = value as unknown[]
    const at = Math.floor(random() * (list.length + 1))
    return [...list.slice(0, at), damaged(list[at], random), ...list.slice(at + 1)]
  }
  const entries = Object.entries(value as Record<string, unknown>)
  const at = Math.floor(random() * (entries.length + 1))
  const [name, part]: [string, unknown] = entries[at] ?? ['stranger', undefined]
  const kept = entries.filter((_, i) => i !== at)
  const damage = random()
  if (damage < 0.2) return Object.fromEntries(kept)
  if (damage < 0.3) return Object.fromEntries([...kept, [`${name}_`, part]])
  return Object.fromEntries([...kept, [name, damaged(part, random)]])
}

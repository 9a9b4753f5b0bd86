/**
 * Choices and expressions for an answer that fills a template: which tokens each position may hold, as required
 * terms. Positions are settled together and each by itself, so that only what says something of every position
 * alone can be kept.
 */
import { BasinError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import type { Grammar } from '../../tokenizer/grammar/grammar.js'
import { positionTexts } from '../../tokenizer/template-positions.js'
import type { EnergyTerm } from '../schemas/terms-schema.js'

/** Undefined: any token. */
type Allowed = { tokens: readonly string[]; not: boolean } | undefined

/** Throws `not_supported` for what cannot be said of each position alone. */
export function positionTerms(grammar: Grammar, { name, template }: ModelConfig): EnergyTerm[] {
  const { length = 0, layout } = template ?? {}
  const refuse = (reason: string): never => {
    throw new BasinError('not_supported', { param: grammar.param, reason })
  }
  const positions =
    grammar.type === 'choice'
      ? ofChoices(grammar.choices.map((choice) => [...positionTexts(choice, layout)]))
      : grammar.type === 'regex' && layout?.kind !== 'sentences'
        ? ofExpression(grammar.pattern)
        : refuse('what is known of an answer that fills a template belongs into the template')
  if (positions === undefined) {
    return refuse(
      grammar.type === 'choice'
        ? 'in a template each position is chosen by itself: the choices must be equally long, and every mixture of them a choice'
        : 'in a template each position is chosen by itself: it must be one character or class after the other, such as [1-6]{36}',
    )
  }
  if (positions.length !== length)
    return refuse(
      `answers of ${name} have ${length} positions, and it describes ${positions.length}`,
    )
  return positions.flatMap((allowed, position): EnergyTerm[] =>
    allowed
      ? [{ type: 'token', position, tokens: [...allowed.tokens], not: allowed.not, required: true }]
      : [],
  )
}

/** Undefined where the positions' tokens allow more texts than these. */
function ofChoices(choices: readonly (readonly string[])[]): Allowed[] | undefined {
  const [first = []] = choices
  if (choices.some(({ length }) => length !== first.length)) return undefined
  const sets = first.map((_, i) => new Set(choices.map((choice) => choice[i] as string)))
  const mixtures = sets.reduce((product, { size }) => product * size, 1)
  const texts = new Set(choices.map((choice) => choice.join('\u0000')))
  if (mixtures !== texts.size) return undefined
  return sets.map((tokens) => ({ tokens: [...tokens], not: false }))
}

/** A character, an escaped one, a digit, a class or a dot; and how often. */
const element =
  /(?:\\(?<escaped>.)|\[(?<not>\^?)(?<class>(?:\\.|[^\]\\])+)\]|(?<any>\.)|(?<plain>[^\\[\](){}|*+?.^$]))(?:\{(?<count>[0-9]{1,4})\})?/uy

function ofExpression(pattern: string): Allowed[] | undefined {
  const positions: Allowed[] = []
  element.lastIndex = 0
  while (element.lastIndex < pattern.length) {
    const { groups } = element.exec(pattern) ?? {}
    if (!groups) return undefined
    const { any, class: members, count = '1', escaped, not, plain = '' } = groups
    const tokens =
      members !== undefined ? membersOf(members) : escaped === undefined ? [plain] : escape(escaped)
    if (any === undefined && tokens === undefined) return undefined
    const allowed = any === undefined && tokens ? { tokens, not: not === '^' } : undefined
    positions.push(...new Array<Allowed>(Number(count)).fill(allowed))
  }
  return positions
}

const digits = Array.from('0123456789')

/** Undefined for classes other than digits. */
function escape(character: string): string[] | undefined {
  if (character === 'd') return digits
  return /[\p{L}\p{N}]/u.test(character) ? undefined : [character]
}

/** Undefined for what is no list of characters and ranges. */
function membersOf(text: string): string[] | undefined {
  const members: string[] = []
  for (const [part] of text.matchAll(/\\.|[^\\]-[^\\]|[^\\]/gu)) {
    if (part.startsWith('\\')) {
      const escaped = escape(part.slice(1))
      if (!escaped) return undefined
      members.push(...escaped)
      continue
    }
    const [from = '', dash, to] = Array.from(part)
    const [first, last] = [from, dash === undefined ? from : (to ?? '')].map(
      (character) => character.codePointAt(0) ?? 0,
    ) as [number, number]
    if (last < first || last - first > 255) return undefined
    for (let code = first; code <= last; code++) members.push(String.fromCodePoint(code))
  }
  return [...new Set(members)]
}

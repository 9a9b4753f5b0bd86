/**
 * A regular expression of a JSON schema as an expression of rules, for the characters of a JSON string that need
 * no escape. Pure. It reads what schemas use: literals, classes, groups, alternatives, repetitions, anchors.
 */

/** What may stand in a string as it is. Inside a class of rules. */
const PLAIN_EXCLUDED = '\\0-\\x1f\\"\\\\'
export const PLAIN = `[^${PLAIN_EXCLUDED}]`

const shorthands: Readonly<Record<string, string>> = { d: '0-9', w: 'A-Za-z0-9_' }

const isPlain = (character: string): boolean => character > '\u001f' && !'"\\'.includes(character)

const quoted = (character: string): string => `"${character}"`

/** A character in a class of rules. */
const classMember = (character: string): string =>
  ']-^'.includes(character) ? `\\${character}` : character

/** Throws an Error that says what it cannot read. */
class PatternReader {
  private at = 0
  private depth = 0

  constructor(private readonly characters: readonly string[]) {}

  read(): string {
    const anchored = this.take('^')
    const body = this.alternatives()
    const ends = this.take('$')
    if (this.at < this.characters.length)
      throw new Error(`unexpected ${this.characters[this.at] ?? ''}`)
    return `${anchored ? '' : `${PLAIN}* `}(${body})${ends ? '' : ` ${PLAIN}*`}`
  }

  private take(character: string): boolean {
    if (this.characters[this.at] !== character) return false
    this.at++
    return true
  }

  private next(): string {
    const character = this.characters[this.at++]
    if (character === undefined) throw new Error('it ends too early')
    return character
  }

  private alternatives(): string {
    const all = [this.sequence()]
    while (this.take('|')) {
      if (this.depth === 0) throw new Error('alternatives must be in parentheses')
      all.push(this.sequence())
    }
    return all.join(' | ')
  }

  private sequence(): string {
    const parts: string[] = []
    for (;;) {
      const character = this.characters[this.at]
      if (character === undefined || '|)$'.includes(character)) break
      parts.push(this.atom() + this.repetition())
    }
    return parts.length === 0 ? '""' : parts.join(' ')
  }

  private atom(): string {
    const character = this.next()
    if (character === '(') return this.group()
    if (character === '[') return this.class()
    if (character === '.') return PLAIN
    if ('*+?{}]^'.includes(character)) throw new Error(`${character} repeats nothing`)
    if (character === '\\') {
      const escaped = this.next()
      const shorthand = shorthands[escaped]
      return shorthand === undefined ? quoted(this.literal(escaped)) : `[${shorthand}]`
    }
    return quoted(this.plain(character))
  }

  private group(): string {
    if (this.take('?') && !this.take(':')) throw new Error('only groups ( ) and (?: ) are read')
    this.depth++
    const body = this.alternatives()
    this.depth--
    if (!this.take(')')) throw new Error('a group has no end')
    return `(${body})`
  }

  private class(): string {
    const negated = this.take('^')
    let members = ''
    while (!this.take(']')) {
      const member = this.member()
      const isRange = this.characters[this.at] === '-' && this.characters[this.at + 1] !== ']'
      if (!isRange || member.length > 1) {
        members += member.length > 1 ? member : classMember(member)
        continue
      }
      this.at++
      members += this.range(member, this.member(), negated)
    }
    return negated ? `[^${PLAIN_EXCLUDED}${members}]` : `[${members}]`
  }

  /** A character, or the ranges of a shorthand. */
  private member(): string {
    const character = this.next()
    if (character !== '\\') return this.plain(character)
    const escaped = this.next()
    return shorthands[escaped] ?? this.literal(escaped)
  }

  private range(from: string, to: string, negated: boolean): string {
    if (to.length > 1 || from > to) throw new Error(`${from}-${to} is no range`)
    const crossing = ['"', '\\'].find((character) => from < character && character < to)
    if (crossing !== undefined && !negated) throw new Error(`${from}-${to} contains ${crossing}`)
    return `${classMember(from)}-${classMember(to)}`
  }

  /** The character that an escape stands for: punctuation only. */
  private literal(escaped: string): string {
    if (/[A-Za-z0-9]/.test(escaped)) throw new Error(`\\${escaped} is not read`)
    return this.plain(escaped)
  }

  private plain(character: string): string {
    if (isPlain(character)) return character
    throw new Error(`${JSON.stringify(character)} needs an escape in JSON`)
  }

  private repetition(): string {
    const [sign = ''] = [this.characters[this.at]]
    if (sign !== '' && '*+?'.includes(sign)) {
      this.at++
      return this.greedy(sign)
    }
    if (!this.take('{')) return ''
    let counts = ''
    while (!this.take('}')) counts += this.next()
    if (!/^\d{1,4}(,(\d{1,4})?)?$/.test(counts)) throw new Error(`{${counts}} is no repetition`)
    return this.greedy(`{${counts}}`)
  }

  private greedy(repetition: string): string {
    if (this.take('?') || this.take('+')) throw new Error('only greedy repetitions are read')
    return repetition
  }
}

/** Throws an Error that says what of the pattern cannot be read. */
export const rulesOfPattern = (pattern: string): string =>
  new PatternReader(Array.from(pattern)).read()

/**
 * The library xgrammar, compiled to WebAssembly: grammars over the tokens of a vocabulary, and the matchers
 * that follow them. It ends its instance where a grammar is wrong (it was built without exceptions), so an
 * instance that refused one compiles no other; matchers made before go on.
 */
import { readFileSync } from 'node:fs'
import Module from 'node:module'
import { fileURLToPath } from 'node:url'
import type * as Library from '@mlc-ai/web-xgrammar'
import { BasinError } from '../../errors.js'
import { type Grammar, rulesOfChoices } from './grammar.js'

type Xgrammar = typeof Library

/** Bytes as byte-level vocabularies write them: printable ones as they are, the others from U+0100 on. */
const byteCharacters: readonly string[] = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
    return String.fromCodePoint(printable ? byte : next++)
  })
})()

/** A token's bytes; empty where no text contains it. */
export type Vocabulary = readonly Uint8Array[]

const encodedTokens = (vocabulary: Vocabulary): string[] =>
  vocabulary.map((bytes) => Array.from(bytes, (byte) => byteCharacters[byte]).join(''))

/**
 * A fresh instance. The package is declared as an ES module, but its file is a script in the old format that
 * asks for `require`: Node does not import it, so it is compiled as what it is.
 */
function load(): Xgrammar {
  const path = fileURLToPath(import.meta.resolve('@mlc-ai/web-xgrammar'))
  const script = new Module(path) as Module & { _compile: (source: string, path: string) => void }
  script._compile(readFileSync(path, 'utf8'), path)
  return script.exports as Xgrammar
}

interface Instance {
  library: Xgrammar
  compiler: Library.GrammarCompiler
}

export class GrammarCompiler {
  private instance: Promise<Instance> | undefined
  private readonly tokens: string[]

  constructor(
    vocabulary: Vocabulary,
    /** The token that ends a text. */
    private readonly end: number,
    /** What the library said since it was last asked. */
    private readonly takeComplaints: () => string[],
  ) {
    this.tokens = encodedTokens(vocabulary)
  }

  /** Throws `invalid_request` naming what is wrong with the grammar. */
  async matcher(grammar: Grammar): Promise<Library.GrammarMatcher> {
    this.instance ??= this.open()
    const { compiler, library } = await this.instance
    this.takeComplaints()
    try {
      const compiled = await compile(compiler, grammar)
      return await library.GrammarMatcher.createGrammarMatcher(compiled)
    } catch (cause) {
      this.instance = undefined
      const [complaint] = this.takeComplaints()
      const reason = complaint?.replace(/^\[\w+\] \S+: /, '') ?? 'it cannot be compiled'
      throw new BasinError('invalid_request', { param: grammar.param, reason }, { cause })
    }
  }

  private async open(): Promise<Instance> {
    const library = load()
    const { GrammarCompiler: Compiler, TokenizerInfo } = library
    const { length } = this.tokens
    const info = await TokenizerInfo.createTokenizerInfo(this.tokens, 'byte_level', false, length, [
      this.end,
    ])
    return { library, compiler: await Compiler.createGrammarCompiler(info) }
  }
}

function compile(
  compiler: Library.GrammarCompiler,
  grammar: Grammar,
): Promise<Library.CompiledGrammar> {
  switch (grammar.type) {
    case 'regex': {
      const format = { type: 'regex' as const, pattern: grammar.pattern }
      return compiler.compileStructuralTag(JSON.stringify({ type: 'structural_tag', format }))
    }
    case 'choice':
      return compiler.compileGrammar(rulesOfChoices(grammar.choices))
    case 'ebnf':
      return compiler.compileGrammar(grammar.rules)
  }
}

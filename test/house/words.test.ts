/** Names, test titles and shapes of code that the project has agreed on. */
import { basename } from 'node:path'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { MAX_TITLE_CHARACTERS } from '../support/title-length.js'
import { retiredFiles, retiredNames, type RetiredName } from './retired-names.js'
import { filesUnder, parse, placeOf, read, walk } from './source.js'

const sources = filesUnder('src', 'test', 'bench').filter(
  (path) => path.endsWith('.ts') && !path.startsWith('test/house/'),
)
const parsed = sources.map((path) => parse(path))

const everyNode = (visit: (node: ts.Node) => void): void => {
  for (const file of parsed) walk(file, visit)
}

/** Where an identifier stands as the name of what `as` says. */
function bears(node: ts.Identifier, as: RetiredName['as']): boolean {
  const { parent } = node
  if (as === 'identifier') return true
  if (as === 'constant')
    return (
      ts.isVariableDeclaration(parent) &&
      parent.name === node &&
      ts.isSourceFile(parent.parent.parent.parent)
    )
  return (
    (ts.isClassDeclaration(parent) ||
      ts.isInterfaceDeclaration(parent) ||
      ts.isTypeAliasDeclaration(parent)) &&
    parent.name === node
  )
}

it('nothing has a retired name', () => {
  const byName = new Map(retiredNames.map((retired) => [retired.name, retired]))
  const found = new Set<string>()
  everyNode((node) => {
    if (!ts.isIdentifier(node)) return
    const retired = byName.get(node.text)
    if (!retired || !bears(node, retired.as)) return
    const { fileName } = node.getSourceFile()
    if (retired.under && !retired.under.some((folder) => fileName.startsWith(folder))) return
    found.add(`${placeOf(node)}: ${retired.name}, now ${retired.now}`)
  })
  expect([...found]).toEqual([])
})

/** C++ without comments and texts. */
const codeOf = (text: string): string =>
  text.replaceAll(/\/\*[^]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"/g, '')

it('nothing in native/ has a retired name', () => {
  const names = retiredNames.filter(({ as, name, under }) => {
    // Short lower-case words and constants have meanings of their own in C++.
    return under === undefined && as !== 'constant' && (/^[A-Z]/.test(name) || name === 'bell')
  })
  const pattern = new RegExp(`\\b(?:${names.map(({ name }) => name).join('|')})\\b`, 'g')
  const found = filesUnder('native')
    .filter((path) => /\.(?:cc|h)$/.test(path))
    .flatMap((path) =>
      [...codeOf(read(path)).matchAll(pattern)].map(([name]) => `${path}: ${name}`),
    )
  expect([...new Set(found)]).toEqual([])
})

it('no file has a retired name', () => {
  const found = filesUnder('src').flatMap((path) =>
    retiredFiles
      .filter(({ name, under }) => basename(path) === name && path.startsWith(under))
      .map(({ now }) => `${path}, now ${now}`),
  )
  expect(found).toEqual([])
})

it('no two files below src/ have the same name', () => {
  // Each engine has its engine.ts behind the interface in src/energy/engine.ts.
  const shared = new Set(['engine.ts', 'index.ts'])
  const paths = new Map<string, string[]>()
  for (const path of filesUnder('src')) {
    const name = basename(path)
    if (shared.has(name)) continue
    paths.set(name, [...(paths.get(name) ?? []), path])
  }
  expect([...paths.values()].filter((same) => same.length > 1)).toEqual([])
})

it('no literal spreads a literal', () => {
  const found: string[] = []
  everyNode((node) => {
    const spreads =
      (ts.isSpreadAssignment(node) && ts.isObjectLiteralExpression(node.expression)) ||
      (ts.isSpreadElement(node) && ts.isArrayLiteralExpression(node.expression))
    if (spreads) found.push(placeOf(node))
  })
  expect(found).toEqual([])
})

/** The title of a call such as it('…'), describe.each(…)('…') or it.skipIf(…)('…'). */
function titleOf(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node)) return undefined
  let callee: ts.Expression = node.expression
  while (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee))
    callee = callee.expression
  if (!ts.isIdentifier(callee) || !['it', 'test', 'describe'].includes(callee.text))
    return undefined
  const [title] = node.arguments
  return title && ts.isStringLiteralLike(title) ? title.text : undefined
}

it('titles of tests are short, and print no objects', () => {
  const found: string[] = []
  everyNode((node) => {
    const title = titleOf(node)
    if (title === undefined) return
    if (title.length > MAX_TITLE_CHARACTERS) found.push(`${placeOf(node)}: too long`)
    if (/%[oO]/.test(title)) found.push(`${placeOf(node)}: %o prints a whole object; use $name`)
  })
  expect(found).toEqual([])
})

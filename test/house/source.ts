/** Reads the project's own sources for the tests of this folder. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const root = fileURLToPath(new URL('../../', import.meta.url))

export const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Paths of all files below these folders, relative to the root. A file stands for itself. */
export function filesUnder(...places: readonly string[]): string[] {
  return places
    .flatMap((place) => {
      const at = join(root, place)
      if (!existsSync(at)) return []
      if (statSync(at).isFile()) return [place]
      return readdirSync(at, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    })
    .sort()
}

export const parse = (path: string): ts.SourceFile =>
  ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true)

/** Calls `visit` for every node of a file. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  ts.forEachChild(node, (child) => {
    walk(child, visit)
  })
}

export const placeOf = (node: ts.Node): string => {
  const file = node.getSourceFile()
  return `${file.fileName}:${String(file.getLineAndCharacterOfPosition(node.getStart()).line + 1)}`
}

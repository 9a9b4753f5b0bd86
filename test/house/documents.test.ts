/** What the documents say about the code is true of the code: paths, links, the step of the engine. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { filesUnder, read, root } from './source.js'

const documents = filesUnder(
  'docs',
  'models',
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
).filter((path) => path.endsWith('.md'))

/** A folder or file of this repository, written as `src/…`. Braces and asterisks stand for several. */
const path = /`((?:bench|docker|docs|examples|models|native|src|test)\/[^`\s]*)`/g

/** `a/{b,c}.ts` as `a/b.ts` and `a/c.ts`. */
function expanded(text: string): string[] {
  const [braces, inside] = /\{([^{}]*)\}/.exec(text) ?? []
  if (braces === undefined || inside === undefined) return [text]
  return inside.split(',').flatMap((choice) => expanded(text.replace(braces, choice.trim())))
}

const exists = (text: string): boolean =>
  text.includes('*')
    ? filesUnder(text.slice(0, text.indexOf('*')).replace(/[^/]*$/, '')).some((file) =>
        matches(file, text),
      )
    : existsSync(join(root, text))

const matches = (file: string, pattern: string): boolean =>
  new RegExp(
    `^${pattern
      .split(/(\*\*|\*)/)
      .map((part) =>
        part === '**' ? '.*' : part === '*' ? '[^/]*' : part.replaceAll(/[.+?^$()|[\]\\]/g, '\\$&'),
      )
      .join('')}(?:/|$)`,
  ).test(file)

describe.each(documents)('%s', (document) => {
  const text = read(document)

  it('names files that exist', () => {
    const named = [...text.matchAll(path)].flatMap(([, name = '']) => expanded(name))
    expect(named.filter((name) => !exists(name))).toEqual([])
  })

  it('links to files and headings that exist', () => {
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
    const broken = targets.filter((target) => {
      if (/^[a-z]+:/.test(target)) return false
      const [file = '', heading] = target.split('#')
      const linked = file === '' ? document : join(dirname(document), file)
      if (!existsSync(join(root, linked))) return true
      return heading !== undefined && !anchorsOf(read(linked)).includes(heading)
    })
    expect(broken).toEqual([])
  })
})

/** The anchors that GitHub gives to the headings of a page. */
const anchorsOf = (text: string): string[] =>
  [...text.replaceAll(/^```[^]*?^```/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^a-z0-9 _-]/g, '')
      .replaceAll(' ', '-'),
  )

describe('docs/architecture.md', () => {
  it('shows the step as src/generation/core/engine-core.ts has it', () => {
    const page = read('docs/architecture.md')
    const section = page.slice(page.indexOf('## The step'))
    const [, block = ''] = /```ts\n([^]*?)```/.exec(section) ?? []
    const codeOf = (line: string) => line.replace(/\/\/.*/, '').trim()
    const shown = block.split('\n').map(codeOf).filter(Boolean)
    const code = read('src/generation/core/engine-core.ts').split('\n').map(codeOf)
    expect(shown.length).toBeGreaterThanOrEqual(3)
    expect(shown.map((line) => (code.includes(line) ? line : `not in the code: ${line}`))).toEqual(
      shown,
    )
  })

  it('lists files that are in the folder of their row', () => {
    const rows = read('docs/architecture.md').matchAll(/^\| `(src\/[^`]+\/)` (.*)$/gm)
    const missing = [...rows].flatMap(([, folder = '', rest = '']) =>
      [...rest.matchAll(/`([a-z-]+\.ts)`/g)]
        .map(([, name = '']) => folder + name)
        .filter((name) => !exists(name)),
    )
    expect(missing).toEqual([])
  })

  it('has a row for every folder below src/', () => {
    const page = read('docs/architecture.md')
    const folders = new Set(filesUnder('src').map((file) => file.split('/')[1] ?? ''))
    const missing = [...folders].filter((name) => {
      const row = name.includes('.') ? `\`src/${name}\`` : `\`src/${name}/\``
      return !new RegExp(`^\\| ${row.replaceAll('.', '\\.')} `, 'm').test(page)
    })
    expect(missing).toEqual([])
  })
})

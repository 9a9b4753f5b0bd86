/** The version of this package, and the directory of its models. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The package's directory: both src/library and dist/library are two levels below it. */
const root = new URL('../../', import.meta.url)

export const shippedModels = fileURLToPath(new URL('models', root))

export const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
  version: string
}

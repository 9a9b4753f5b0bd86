/** Where this package is, and which version of it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Both src/cli and dist/cli are two below it. */
const root = new URL('../../', import.meta.url)

export const shippedModels = fileURLToPath(new URL('models', root))

export const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
  version: string
}

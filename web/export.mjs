/**
 * Writes the page as files for any host: it computes in the reader's browser, and there is no server.
 *
 *   npm run page -- --out FOLDER [--models DIRECTORY] [--model NAME ...]
 *
 * Without --model it takes every model that browsers can compute with. The host must be reached over https, or
 * be localhost: browsers allow WebGPU nowhere else.
 */
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { browserFiles } from '../dist/cli/model-files.js'
import { scanModels } from '../dist/library/model-folder.js'
import { defaultLimits } from '../dist/server/limits.js'
import { describeModel } from '../dist/server/routes/model-routes.js'

const project = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: 'build/page' },
    models: { type: 'string', default: project('models') },
    model: { type: 'string', multiple: true },
  },
})
const { out } = flags

const found = scanModels(flags.models).found.flatMap(({ directory, model: config }) => {
  const files = browserFiles(directory)
  return files && !config.feed_forward ? [{ directory, files, config }] : []
})
const chosen = flags.model
  ? flags.model.map((name) => {
      const model = found.find(({ directory }) => basename(directory) === name)
      if (model) return model
      const names = found.map(({ directory }) => basename(directory)).join(', ')
      throw new Error(
        `there is no model ${name} that browsers can compute with; there are ${names}`,
      )
    })
  : found

rmSync(join(out, 'page'), { recursive: true, force: true })
rmSync(join(out, 'models'), { recursive: true, force: true })
mkdirSync(join(out, 'models'), { recursive: true })
cpSync(project('dist/page/page'), join(out, 'page'), {
  recursive: true,
  filter: (path) => !/\.(br|gz)$/.test(path),
})
const html = readFileSync(project('dist/page/index.html'), 'utf8')
writeFileSync(join(out, 'index.html'), html.replace('<html ', '<html data-host="files" '))
for (const { config, directory, files } of chosen) {
  const folder = join(out, 'models', config.name)
  mkdirSync(folder)
  for (const file of files) copyFileSync(join(directory, file), join(folder, file))
}
const data = chosen.map(({ config }) =>
  describeModel({ model: config, chat: false }, defaultLimits, true),
)
writeFileSync(join(out, 'models/index.json'), JSON.stringify({ object: 'list', data }, null, 2))
console.log(`the page with ${chosen.map(({ config }) => config.name).join(', ')} is in ${out}`)

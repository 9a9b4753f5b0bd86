// `npm pack` and `npm publish` run this: puts the addon that was built here into the package, without its
// symbols. It uses N-API alone, so one file serves every version of Node on this platform. `remove`: takes it
// out of the folder again, where it would hide later changes of the source.
const { spawnSync } = require('node:child_process')
const { copyFileSync, existsSync, mkdirSync, rmSync } = require('node:fs')
const { join } = require('node:path')

const root = join(__dirname, '..')
const folder = join(root, 'prebuilds')
rmSync(folder, { recursive: true, force: true })
if (process.argv[2] !== 'remove') {
  const built = join(root, 'build', 'Release', 'basin.node')
  if (!existsSync(built))
    throw new Error('the addon is not built: run npm ci where there is a compiler')
  const place = join(folder, `${process.platform}-${process.arch}`)
  mkdirSync(place, { recursive: true })
  const file = join(place, 'basin.node')
  copyFileSync(built, file)
  const { error, stderr } = spawnSync('strip', ['-x', file], { encoding: 'utf8' })
  if (error || stderr) throw new Error(`strip: ${error?.message ?? stderr}`)
}

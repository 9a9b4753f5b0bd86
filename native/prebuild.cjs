// `npm pack` and `npm publish` run this: puts the addon that was built here into the package, and where Debian's
// cross compiler is installed (g++-aarch64-linux-gnu) one for Linux on arm64 too, both without their symbols. They
// use N-API alone, so one file serves every version of Node on its platform. `remove`: takes them out of the folder
// again, where they would hide later changes of the source.
const { spawnSync } = require('node:child_process')
const { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } = require('node:fs')
const { join } = require('node:path')
const { nodeGyp } = require('./node-gyp.cjs')

const root = join(__dirname, '..')
const folder = join(root, 'prebuilds')

function run(program, args, options = {}) {
  const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options })
  if (error || status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`)
}

/** `strip`: of the tools for this platform. */
function carry(built, platform, strip) {
  const place = join(folder, platform)
  mkdirSync(place, { recursive: true })
  const file = join(place, 'basin.node')
  copyFileSync(built, file)
  run(strip, ['-x', file])
  console.log(`basin: the package brings an addon for ${platform}`)
}

/** In a folder of its own, where a second build compiles only what has changed. */
function buildForArm() {
  const place = join(root, 'build', 'linux-arm64')
  mkdirSync(place, { recursive: true })
  for (const name of ['native', 'binding.gyp'])
    if (!existsSync(join(place, name))) symlinkSync(join(root, name), join(place, name))
  const tools = { CC: 'gcc', CXX: 'g++', AR: 'ar', LINK: 'g++' }
  const named = Object.entries(tools).map(([name, tool]) => [name, `aarch64-linux-gnu-${tool}`])
  const env = { ...process.env, ...Object.fromEntries(named), npm_config_arch: 'arm64' }
  const { gyp, headers } = nodeGyp()
  if (!gyp) throw new Error('node-gyp was not found beside npm')
  const args = [gyp, 'configure', 'build', '--arch=arm64', '--jobs', 'max', ...headers]
  run(process.execPath, args, { cwd: place, env, maxBuffer: 1 << 28 })
  return join(place, 'build', 'Release', 'basin.node')
}

rmSync(folder, { recursive: true, force: true })
if (process.argv[2] !== 'remove') {
  const built = join(root, 'build', 'Release', 'basin.node')
  if (!existsSync(built))
    throw new Error('the addon is not built: run npm ci where there is a compiler')
  carry(built, `${process.platform}-${process.arch}`, 'strip')
  const crosses = !spawnSync('aarch64-linux-gnu-g++', ['--version']).error
  if (crosses && process.arch !== 'arm64')
    carry(buildForArm(), 'linux-arm64', 'aarch64-linux-gnu-strip')
}

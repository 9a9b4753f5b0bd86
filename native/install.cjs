// `npm install` runs this. Takes the addon that the package brings where this machine can load it, else builds
// it with the node-gyp that npm brings. Without a compiler the install still succeeds, and build/native.json
// says why there is no addon, for the server to repeat.
const { spawnSync } = require('node:child_process')
const { existsSync, mkdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { nodeGyp } = require('./node-gyp.cjs')

const root = join(__dirname, '..')
const report = (built, reason) => {
  mkdirSync(join(root, 'build'), { recursive: true })
  writeFileSync(join(root, 'build', 'native.json'), `${JSON.stringify({ built, reason })}\n`)
  console.log(`basin: ${built ? `the native engine is ${reason}` : `no native engine: ${reason}`}`)
}

/** Undefined: there is none, or the source is to be built. Otherwise why it cannot be loaded, or null. */
function prebuiltProblem() {
  const file = join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'basin.node')
  if (process.env.BASIN_BUILD_FROM_SOURCE || !existsSync(file)) return undefined
  try {
    require(file)
    return null
  } catch (error) {
    return error.message.split('\n')[0]
  }
}
const problem = prebuiltProblem()

const { gyp, headers } = nodeGyp()

if (problem === null) {
  report(true, 'prebuilt')
} else if (process.env.BASIN_SKIP_NATIVE) {
  report(false, 'BASIN_SKIP_NATIVE was set at install')
} else if (!gyp) {
  report(false, 'node-gyp was not found beside npm')
} else {
  const { status, stderr, error } = spawnSync(
    process.execPath,
    [gyp, 'rebuild', '--jobs', 'max', ...headers],
    { cwd: root, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'], maxBuffer: 1 << 28 },
  )
  if (status === 0) {
    report(true, 'built at install')
  } else {
    const lines = String(error?.message ?? stderr ?? '').split('\n')
    const cause =
      lines.find(
        (line) =>
          /error|not found|No such file/i.test(line) &&
          !/stack|gyp ERR! (node|cwd|command)/.test(line),
      ) ?? lines[0]
    const prebuilt = problem ? `the prebuilt one does not load (${problem}), and ` : ''
    report(false, `${prebuilt}building it failed: ${cause.replace(/^gyp ERR! /, '').trim()}`)
  }
}

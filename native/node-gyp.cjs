// The node-gyp that npm brings, and the headers of this Node where they are installed, which spare a download.
const { existsSync } = require('node:fs')
const { dirname, join } = require('node:path')

function nodeGyp() {
  const npm = process.env.npm_execpath
  const inPackage = ['node_modules', 'node-gyp', 'bin', 'node-gyp.js']
  const prefix = join(dirname(process.execPath), '..')
  const candidates = [
    process.env.npm_config_node_gyp,
    npm && join(dirname(npm), '..', ...inPackage),
    join(prefix, 'lib', 'node_modules', 'npm', ...inPackage),
  ]
  const own = existsSync(join(prefix, 'include', 'node', 'node_api.h'))
  return {
    gyp: candidates.find((path) => path && existsSync(path)),
    headers: own ? [`--nodedir=${prefix}`] : [],
  }
}

module.exports = { nodeGyp }

/** A real Redis for tests: the installed one, or Debian's packages unpacked into build/. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { outputOrEnd } from './child-output.js'
import { fetchPackages, folderOf, run } from './debian.js'

export interface RedisBinary {
  path: string
  env: NodeJS.ProcessEnv
}

const works = ({ env, path }: RedisBinary): boolean =>
  run(path, ['--version'], { env }).status === 0

/** The unpacked binary, run with the libraries that were unpacked with it. */
function unpacked(): RedisBinary {
  const usr = join(folderOf('redis'), 'usr')
  const libraries = join(usr, 'lib')
  const paths = existsSync(libraries) ? readdirSync(libraries) : []
  const LD_LIBRARY_PATH = paths.map((name) => join(libraries, name)).join(':')
  return { path: join(usr, 'bin', 'redis-server'), env: { ...process.env, LD_LIBRARY_PATH } }
}

/** The binary, or the reason why there is none. */
export function findRedis(): RedisBinary | string {
  const installed = { path: 'redis-server', env: process.env }
  if (works(installed)) return installed
  if (works(unpacked())) return unpacked()
  const packages = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1']
  const missing = fetchPackages('redis', packages)
  if (missing !== undefined) return missing
  return works(unpacked()) ? unpacked() : 'the redis-server that was unpacked does not run'
}

export class RedisServer {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  /** Resolves when it accepts connections. `folder`: of its log of all writes; without it, it keeps nothing on disk. */
  static async start(
    { env, path }: RedisBinary,
    port: number,
    folder?: string,
  ): Promise<RedisServer> {
    const kept =
      folder === undefined ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--dir', folder]
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', ...kept]
    const child = spawn(path, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
    let said = ''
    child.stdout.on('data', (data: Buffer) => (said += data.toString()))
    while (!said.includes('Ready to accept connections')) {
      if (child.exitCode !== null) throw new Error(`redis-server ended: ${said}`)
      await outputOrEnd(child)
    }
    return new RedisServer(child, `redis://127.0.0.1:${port}`)
  }

  /** Resolves when it is gone, having written what it had to. */
  async stop(): Promise<void> {
    const gone = once(this.child, 'close')
    this.child.kill('SIGTERM')
    await gone
  }

  async kill(): Promise<void> {
    const gone = once(this.child, 'close')
    this.child.kill('SIGKILL')
    await gone
  }
}

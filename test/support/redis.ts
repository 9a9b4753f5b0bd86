/** A real Redis for tests: the installed one, or Debian's packages unpacked into build/. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { outputOrEnd } from './child-output.js'
import { findProgram, type Program } from './debian.js'

/** The binary, or the reason why there is none. */
export const findRedis = (): Program | string =>
  findProgram('redis', 'bin/redis-server', [
    'redis-server',
    'redis-tools',
    'libjemalloc2',
    'liblzf1',
  ])

export class RedisServer {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  /** Resolves when it accepts connections. `folder`: of its log of all writes; without it, it keeps nothing on disk. */
  static async start({ env, path }: Program, port: number, folder?: string): Promise<RedisServer> {
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

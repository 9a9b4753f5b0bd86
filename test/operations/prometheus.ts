/**
 * A real Prometheus for tests: the one that is installed, else Debian's package unpacked into build/.
 * Unpacking needs no root and starts no service; only a first `apt-get update` may need root.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Binaries {
  prometheus: string
  promtool: string
}

const unpacked = fileURLToPath(new URL('../../build/prometheus', import.meta.url))

const run = (command: string, args: readonly string[], cwd = '.') =>
  spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 })

const inDirectory = (directory: string): Binaries => ({
  prometheus: join(directory, 'prometheus'),
  promtool: join(directory, 'promtool'),
})

const works = ({ prometheus, promtool }: Binaries): boolean =>
  [prometheus, promtool].every((binary) => run(binary, ['--version']).status === 0)

function unpack(): boolean {
  mkdirSync(unpacked, { recursive: true })
  if (run('apt-get', ['download', 'prometheus'], unpacked).status !== 0) return false
  const archive = readdirSync(unpacked).find((name) => name.endsWith('.deb'))
  return archive !== undefined && run('dpkg-deb', ['-x', archive, '.'], unpacked).status === 0
}

/** The binaries, or why there are none. */
export function findPrometheus(): Binaries | string {
  const installed = { prometheus: 'prometheus', promtool: 'promtool' }
  if (works(installed)) return installed
  const local = inDirectory(join(unpacked, 'usr', 'bin'))
  if (works(local)) return local
  if (!existsSync('/etc/debian_version'))
    return 'prometheus is not installed, and this is not Debian'
  if (unpack()) return local
  if (process.getuid?.() !== 0)
    return 'apt-get has no prometheus to download, and only root updates it'
  run('apt-get', ['update'])
  return unpack() ? local : 'apt-get has no prometheus to download'
}

/** A port that was free a moment ago: Prometheus cannot say which one it was given. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exit
}

export interface Sample {
  metric: Record<string, string>
  value: [number, string]
}

export interface Rule {
  type: 'alerting' | 'recording'
  name: string
  query: string
  health: string
  lastError?: string
}

export class Prometheus {
  private constructor(
    private readonly child: ChildProcess,
    private readonly url: string,
  ) {}

  static start({ prometheus }: Binaries, config: string, data: string, port: number): Prometheus {
    const args = [
      `--config.file=${config}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]
    const child = spawn(prometheus, args, { stdio: ['ignore', 'ignore', 'ignore'] })
    return new Prometheus(child, `http://127.0.0.1:${port}`)
  }

  /** What an instant query finds now; nothing while Prometheus is not up. Throws on a query it refuses. */
  async query(promql: string): Promise<Sample[]> {
    const body = new URLSearchParams({ query: promql })
    const answer = await this.get('/api/v1/query', { method: 'POST', body })
    return (answer as { result?: Sample[] }).result ?? []
  }

  async rules(): Promise<Rule[]> {
    const answer = (await this.get('/api/v1/rules')) as { groups?: { rules: Rule[] }[] }
    return (answer.groups ?? []).flatMap(({ rules }) => rules)
  }

  close(): Promise<void> {
    return ended(this.child)
  }

  private async get(path: string, options: RequestInit = {}): Promise<unknown> {
    const reply = await fetch(this.url + path, options).catch(() => undefined)
    if (!reply || reply.status === 503) return {}
    const { data, error } = (await reply.json()) as { data?: unknown; error?: string }
    if (error !== undefined) throw new Error(`${path}: ${error}`)
    return data
  }
}

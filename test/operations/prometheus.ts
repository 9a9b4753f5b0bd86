/** A real Prometheus for tests: the installed one, or else Debian's package, unpacked into build/. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fetchPackages, folderOf, run } from '../support/debian.js'

export interface Binaries {
  prometheus: string
  promtool: string
}

const works = ({ prometheus, promtool }: Binaries): boolean =>
  [prometheus, promtool].every((binary) => run(binary, ['--version']).status === 0)

/** The binaries, or the reason why there are none. */
export function findPrometheus(): Binaries | string {
  const installed = { prometheus: 'prometheus', promtool: 'promtool' }
  if (works(installed)) return installed
  const directory = join(folderOf('prometheus'), 'usr', 'bin')
  const local = {
    prometheus: join(directory, 'prometheus'),
    promtool: join(directory, 'promtool'),
  }
  if (works(local)) return local
  return fetchPackages('prometheus', ['prometheus']) ?? local
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

  /** The result of an instant query; empty while Prometheus is not up. Throws if Prometheus refuses the query. */
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

/** The real server, as a process of its own, for benchmarks that send it requests. */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { sumOfSamples } from '../test/support/metric-samples.js'

const root = new URL('../../', import.meta.url)
const main = fileURLToPath(new URL('dist/cli/main.js', root))

export const shippedModels = fileURLToPath(new URL('models', root))

/** As many threads as `basin serve` gives an engine by default. */
export const defaultThreads = String(Math.max(1, availableParallelism() - 1))

export interface Started {
  url: string
  pid: number | undefined
  stop: () => void
}

/** Starts `basin serve` with these flags, at a free port. Rejects if it ends before it listens. */
export function startServer(flags: Readonly<Record<string, string>>): Promise<Started> {
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  // A benchmark that fails must not leave its server running.
  process.once('exit', () => child.kill('SIGKILL'))
  let output = ''
  return new Promise((resolve, reject) => {
    child.once('exit', (code) =>
      reject(new Error(`the server ended with ${String(code)} before it listened`)),
    )
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString()
      const url = /is at (http:\S+), its/.exec(output)?.[1]
      if (url) resolve({ url, pid: child.pid, stop: () => child.kill('SIGTERM') })
    })
  })
}

/** The sum of a metric's samples that have `label` among their labels. */
export async function readMetrics(url: string): Promise<(name: string, label?: string) => number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return (name, label) => sumOfSamples(text, name, label)
}

interface Listed {
  id: string
  capabilities: { template: { blank: string; length: number | null } | null }
}

/** A completion request for each model: an empty grid if the model fills one, else `tokens` of text. */
export async function requestsFor(url: string, tokens: number) {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: Listed[] }
  return data.map(({ id, capabilities: { template } }) => ({
    model: id,
    ...(template?.length
      ? { template: template.blank.repeat(template.length) }
      : { prompt: 'Once upon a time', max_tokens: tokens }),
  }))
}

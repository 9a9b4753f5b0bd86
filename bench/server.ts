/** The real server, as a process of its own, for benchmarks that ask it over HTTP. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = new URL('../../', import.meta.url)
const main = fileURLToPath(new URL('dist/cli/main.js', root))

export const shippedModels = fileURLToPath(new URL('models', root))

export interface Started {
  url: string
  stop: () => void
}

/** `flags` of `basin serve`, at any free port. Rejects if it ends before it listens. */
export function startServer(...flags: string[]): Promise<Started> {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error('the server ended')))
    child.stdout.on('data', (data: Buffer) => {
      said += data.toString()
      const url = /is at (http:\S+), its/.exec(said)?.[1]
      if (url) resolve({ url, stop: () => child.kill('SIGTERM') })
    })
  })
}

interface Listed {
  id: string
  capabilities: { template: { blank: string; length: number | null } | null }
}

/** What a completion of each model here asks for: an empty grid where it fills one, else `tokens` of text. */
export async function requestsFor(url: string, tokens: number) {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: Listed[] }
  return data.map(({ id, capabilities: { template } }) => ({
    model: id,
    ...(template?.length
      ? { template: template.blank.repeat(template.length) }
      : { prompt: 'Once upon a time', max_tokens: tokens }),
  }))
}

/** Runs the built program, `node dist/cli/main.js`, as a process on a free port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { weightsFile, writeCheckpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { outputOrEnd } from './child-output.js'
import { characterDescriptor } from './engine-bench.js'
import { sumOfSamples } from './metric-samples.js'
import { configOf } from './models.js'

/** BASIN_MAIN: for callers that are built themselves, so that the program is elsewhere. */
const main =
  process.env['BASIN_MAIN'] ?? fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
export const shippedModels =
  process.env['BASIN_MODELS'] ?? fileURLToPath(new URL('../../models', import.meta.url))

/** Whether the trained weights are there. */
export const shipped = ['sudoku6', 'sudoku6-exact', 'addition', 'stories', 'tales', 'worlds'].every(
  (name) => existsSync(join(shippedModels, name, weightsFile)),
)

/** A directory with the model `letters`, small and random, for texts of a to z and spaces. */
export function writeModels(): string {
  const root = mkdtempSync(join(tmpdir(), 'basin-models-'))
  writeModel(root, 'letters')
  return root
}

/** `seed`: for the random weights. */
export function writeModel(root: string, name: string, seed = 1): string {
  const directory = join(root, name)
  mkdirSync(directory)
  const config = configOf({ name, vocab_size: 28, answer: { block: 2 } })
  writeCheckpoint(directory, { config, tensors: initialWeights(config, seed, 0.5) })
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(characterDescriptor(true)))
  return directory
}

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

export class BasinProcess {
  stdout = ''
  stderr = ''
  readonly ended: Promise<Ended>
  private readonly child: ChildProcess

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [main, ...args])
    this.child.stdout?.on('data', (data: Buffer) => (this.stdout += data.toString()))
    this.child.stderr?.on('data', (data: Buffer) => (this.stderr += data.toString()))
    this.ended = once(this.child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }))
  }

  get pid(): number | undefined {
    return this.child.pid
  }

  /** Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.ended
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** Waits for a match of `pattern` in standard output, and returns its first group or all of it. */
  async says(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.stdout)
      if (match) return match[1] ?? match[0]
      if (this.child.exitCode !== null) throw new Error(`ended: ${this.stderr}`)
      await outputOrEnd(this.child)
    }
  }
}

export class Server extends BasinProcess {
  private constructor(args: string[]) {
    super('serve', '--port', '0', ...args)
  }

  /** The base URL, such as `http://127.0.0.1:40123`. */
  url = ''

  static async start(models: string, ...args: string[]): Promise<Server> {
    const server = new Server(['--models', models, ...args])
    server.url = await server.says(/is at (http:\S+), its/)
    return server
  }

  get socket(): string {
    return `${this.url.replace('http', 'ws')}/v1/refine`
  }

  async stop(): Promise<Ended> {
    this.signal('SIGTERM')
    return this.ended
  }

  post(path: string, body: object | string | Uint8Array, signal?: AbortSignal): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
      ...(signal && { signal }),
    })
  }

  async complete(body: object): Promise<CompletionBody> {
    const reply = await this.post('/v1/completions', body)
    if (reply.status !== 200) throw new Error(`${reply.status}: ${await reply.text()}`)
    return (await reply.json()) as CompletionBody
  }

  /** The sum of all samples of a metric. */
  async metric(name: string): Promise<number> {
    return sumOfSamples(await (await fetch(`${this.url}/metrics`)).text(), name)
  }
}

export interface CompletionBody {
  model: string
  choices: { text: string; finish_reason: string; refinement: RefinementBody }[]
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number }
  refinement: RefinementBody
}

export interface RefinementBody {
  steps: number
  stop_reason: string
  converged: boolean
  energy: { initial: number; final: number; best: number }
}

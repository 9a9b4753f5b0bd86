/**
 * What the harness of faults works on: the real server as a process on a folder of its own, three keys, and
 * answers of an undisturbed run to compare with.
 */
import { mkdirSync, readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { addKey } from '../../src/server/api-keys.js'
import { streamedEvents } from '../support/events.js'
import { sumOfSamples } from '../support/metric-samples.js'
import { Server, writeModel } from '../support/process.js'

export interface Event {
  type: string
  sequence_number: number
  delta?: string
  response?: { id: string; status: string }
}

/** A response whose text does not depend on anything but its seed. */
export interface Spec {
  seed: number
  maxSteps: number
  tokens: number
}

const SLOTS = 16
/** For an answer of a small model on a machine that does much else. */
export const PATIENCE_MS = 20_000

export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'basin-chaos-'))
  readonly data = join(this.folder, 'data')
  /** One client that does what it likes, one that must not notice, and the operator. */
  readonly keys: { greedy: string; other: string; admin: string }
  server: Server | undefined
  /** Processes that ended without having been killed. */
  deaths = 0
  private killed = false
  private readonly models = join(this.folder, 'models')
  private readonly keyFile = join(this.folder, 'keys.json')

  constructor() {
    this.keys = {
      greedy: addKey(this.keyFile, 'greedy'),
      other: addKey(this.keyFile, 'other'),
      admin: addKey(this.keyFile, 'operator', true),
    }
    mkdirSync(this.models)
    for (const [i, name] of ['letters', 'figures'].entries()) writeModel(this.models, name, i + 1)
  }

  get url(): string {
    return this.server?.url ?? ''
  }

  async start(): Promise<void> {
    this.killed = false
    const flags = {
      'data-dir': this.data,
      keys: this.keyFile,
      slots: `${SLOTS}`,
      'max-queue': '64',
      'hold-seconds': '2',
      'pause-seconds': '2',
      threads: '1',
    }
    const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
    const server = await Server.start(this.models, ...words)
    this.server = server
    void server.ended.then(() => {
      if (!this.killed && this.server === server) this.deaths++
    })
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.killed = true
    this.server?.signal(signal)
    await this.server?.ended
  }

  async end(): Promise<void> {
    await this.kill('SIGTERM')
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Rejects after `PATIENCE_MS`, and when the server cannot be reached. */
  fetch(key: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    return fetch(this.url + path, {
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...init,
      headers: { ...headers, ...(init.headers as Record<string, string> | undefined) },
    })
  }

  post(key: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const init = { method: 'POST', body: JSON.stringify(body) }
    return this.fetch(key, path, signal ? { ...init, signal } : init)
  }

  /** The sum of the samples of a metric. */
  async metric(name: string): Promise<number> {
    return sumOfSamples(await (await this.fetch(this.keys.admin, '/metrics')).text(), name)
  }

  /** Open files of the server's process, and the memory that it holds, in MiB. */
  footprint(): { descriptors: number; memory: number } {
    const process = `/proc/${this.server?.pid ?? 0}`
    const status = readFileSync(`${process}/status`, 'utf8')
    const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
    return { descriptors: readdirSync(`${process}/fd`).length, memory: kilobytes / 1024 }
  }
}

export const responseOf = ({ maxSteps, seed, tokens }: Spec) => ({
  model: 'letters',
  input: 'once upon a time',
  max_output_tokens: tokens,
  temperature: 1,
  seed,
  refinement: { max_steps: maxSteps },
  background: true,
  stream: true,
})

/** The events of a stream. Ends without an error where the connection breaks. */
export async function* eventsOf(reply: Response): AsyncGenerator<Event> {
  try {
    yield* streamedEvents<Event>(reply)
  } catch {
    // The connection of a process that was killed or stopped breaks; its reader asks again.
  }
}

export const isEnd = ({ type }: Event): boolean =>
  ['response.completed', 'response.incomplete', 'response.failed', 'response.cancelled'].includes(
    type,
  )

/** Waits until `holds`, asking every 100 ms; false after `milliseconds`. */
export async function until(
  holds: () => Promise<boolean>,
  milliseconds = PATIENCE_MS,
): Promise<boolean> {
  const end = performance.now() + milliseconds
  while (performance.now() < end) {
    if (await holds().catch(() => false)) return true
    await wait(100)
  }
  return false
}

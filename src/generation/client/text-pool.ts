/**
 * Turns texts to tokens and back in a thread of its own for each model, so that neither the server's thread
 * nor the engine's waits for a long text. Clients take turns; what one of them may have waiting is bounded in
 * number, and each text in time. The thread starts with the first text and ends after a minute without one.
 */
import { Piscina, type PiscinaTask, type TaskQueue } from 'piscina'
import { BasinError, fromErrorMessage } from '../../errors.js'
import { FairQueue } from '../../scheduler/fair-queue.js'
import type { ChatMessage, Tool } from '../../tokenizer/chat-template.js'
import type { TextReply, TextTask } from '../protocol.js'

/** Texts of one client that may wait. */
const MOST_WAITING = 64
/** For a text, once it is its turn or before. Then the thread is ended, and the next text starts another. */
const TIMEOUT_MS = 30_000
const IDLE_MS = 60_000
/** Of the thread: a tokenizer of 128,000 tokens takes some 100 MiB. */
const MOST_MEGABYTES = 1024

/** Piscina's queue, in which clients take turns. */
class TurnQueue implements TaskQueue {
  private readonly queue = new FairQueue<PiscinaTask>()

  get size(): number {
    return this.queue.size
  }

  push(task: PiscinaTask): void {
    this.queue.push(clientOf(task), task)
  }

  shift(): PiscinaTask | null {
    const [next] = this.queue.heads(() => true)
    if (!next) return null
    this.queue.take(clientOf(next), next)
    return next
  }

  remove(task: PiscinaTask): void {
    this.queue.remove((other) => other === task)
  }
}

/** As `run` has set it. */
function clientOf(task: PiscinaTask): string {
  const options: unknown = Reflect.get(task, Piscina.queueOptionsSymbol)
  return (options as { client: string }).client
}

export class TextPool {
  private pool: Piscina<TextTask, TextReply> | undefined
  /** By client. */
  private readonly waiting = new Map<string, number>()

  constructor(
    /** What errors call the model. */
    private readonly model: string,
    private readonly modelPath: string,
    /** The built entry of the engine's worker, beside which text-worker.js stands. */
    private readonly workerEntry: URL,
  ) {}

  /** Throws `queue_full`, `engine_unavailable` after too long a time, and what the tokenizer throws. */
  async encode(text: string, client: string, param: string): Promise<readonly number[]> {
    return [...((await this.run({ type: 'encode', text, param }, client)).tokens ?? [])]
  }

  async decode(tokens: readonly number[], client: string): Promise<string> {
    return (await this.run({ type: 'decode', tokens }, client)).text ?? ''
  }

  async chat(
    messages: readonly ChatMessage[],
    client: string,
    tools?: readonly Tool[],
  ): Promise<readonly number[]> {
    const task = { type: 'chat' as const, messages, ...(tools && { tools }) }
    return [...((await this.run(task, client)).tokens ?? [])]
  }

  async close(): Promise<void> {
    await this.pool?.destroy()
  }

  private async run(
    task: TextTask,
    client: string,
  ): Promise<Exclude<TextReply, { error: unknown }>> {
    const waiting = this.waiting.get(client) ?? 0
    if (waiting >= MOST_WAITING)
      throw new BasinError('queue_full', { waiting, limit: MOST_WAITING })
    this.waiting.set(client, waiting + 1)
    this.pool ??= new Piscina({
      filename: new URL('./text-worker.js', this.workerEntry).href,
      workerData: { modelPath: this.modelPath },
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: IDLE_MS,
      resourceLimits: { maxOldGenerationSizeMb: MOST_MEGABYTES },
      taskQueue: new TurnQueue(),
    })
    try {
      const turn = { ...task, [Piscina.queueOptionsSymbol]: { client } }
      const reply = await this.pool.run(turn, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      if ('error' in reply) throw fromErrorMessage(reply.error)
      return reply
    } catch (cause) {
      if (cause instanceof BasinError) throw cause
      throw new BasinError('engine_unavailable', { model: this.model }, { cause })
    } finally {
      const left = (this.waiting.get(client) ?? 1) - 1
      if (left > 0) this.waiting.set(client, left)
      else this.waiting.delete(client)
    }
  }
}

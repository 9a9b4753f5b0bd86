/**
 * Token masks for the requests of one model. Grammars are compiled and followed in a thread of their own, which
 * starts with the first of them; masks are read from shared memory.
 */
import { Worker } from 'node:worker_threads'
import { BasinError, fromErrorMessage } from '../../errors.js'
import type { Grammar, TokenMask } from './grammar.js'
import type { FromGrammarThread, GrammarThreadData, ToGrammarThread } from './grammar-messages.js'
import {
  type Wakeup,
  createWakeup,
  createMaskMemory,
  type MaskMemory,
  readMask,
  wake,
  wakeIfAsleep,
  writeChange,
} from './mask-memory.js'

/** A grammar that takes longer to compile is refused, and its thread is ended. */
const COMPILE_SECONDS = 10
/** The same for one mask, for which the engine waits. */
const MASK_SECONDS = 1

const GRAMMARS_ENDED = 'the thread of its grammar has ended'

const entry = new URL('./grammar-thread.js', import.meta.url)

const tooComplex = ({ param }: Grammar, what: string): BasinError =>
  new BasinError('not_supported', { param, reason: `it is too complex: ${what}` })

class GrammarThread {
  private readonly worker: Worker
  private readonly waiting = new Map<number, (message: FromGrammarThread) => void>()
  readonly wakeup: Wakeup = createWakeup()
  ended = false

  constructor(data: Omit<GrammarThreadData, 'wakeup'>, onEnd: () => void) {
    const workerData: GrammarThreadData = { ...data, wakeup: this.wakeup }
    this.worker = new Worker(entry, { workerData })
    this.worker.unref()
    this.worker.on('message', (message: FromGrammarThread) => {
      this.waiting.get(message.id)?.(message)
    })
    const end = () => {
      this.ended = true
      onEnd()
      const error = { code: 'engine_failed', facts: { reason: GRAMMARS_ENDED } } as const
      for (const [id, settle] of this.waiting) settle({ id, error })
    }
    // Its exit follows, after which nothing waits for it.
    this.worker.on('error', () => undefined)
    this.worker.once('exit', end)
  }

  send(message: ToGrammarThread): void {
    if (this.ended) return
    this.worker.postMessage(message)
    wake(this.wakeup)
  }

  /** Resolves with the reply; undefined where there is none in time. */
  async open(message: ToGrammarThread & { type: 'open' }): Promise<FromGrammarThread | undefined> {
    let timer: NodeJS.Timeout | undefined
    const reply = new Promise<FromGrammarThread>((resolve) => this.waiting.set(message.id, resolve))
    const deadline = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, COMPILE_SECONDS * 1000, undefined)
    })
    this.send(message)
    const settled = await Promise.race([reply, deadline])
    clearTimeout(timer)
    this.waiting.delete(message.id)
    return settled
  }

  async terminate(): Promise<void> {
    await this.worker.terminate()
  }
}

export class TokenMasks {
  private thread: GrammarThread | undefined
  private opened = 0

  constructor(private readonly data: Omit<GrammarThreadData, 'wakeup'>) {}

  /** Throws what is wrong with the grammar. */
  async open(grammar: Grammar): Promise<TokenMask> {
    this.thread ??= this.start()
    const { thread } = this
    const id = this.opened++
    const memory = createMaskMemory(this.data.tokens)
    const reply = await thread.open({ type: 'open', id, grammar, memory })
    if (!reply) {
      await thread.terminate()
      throw tooComplex(grammar, `it took more than ${COMPILE_SECONDS} s to compile`)
    }
    if (reply.error) throw fromErrorMessage(reply.error)
    return new FollowedText(thread, id, memory, grammar)
  }

  async close(): Promise<void> {
    await this.thread?.terminate()
  }

  private start(): GrammarThread {
    const thread: GrammarThread = new GrammarThread(this.data, () => {
      if (this.thread === thread) this.thread = undefined
    })
    return thread
  }
}

class FollowedText implements TokenMask {
  constructor(
    private readonly thread: GrammarThread,
    private readonly id: number,
    private readonly memory: MaskMemory,
    private readonly grammar: Grammar,
  ) {}

  allowed(): Int32Array {
    if (this.thread.ended) throw new BasinError('engine_failed', { reason: GRAMMARS_ENDED })
    const mask = readMask(this.memory, MASK_SECONDS)
    if (mask?.some((word) => word !== 0)) return mask
    if (mask) {
      const reason = 'no text can match it'
      throw new BasinError('invalid_request', { param: this.grammar.param, reason })
    }
    throw this.tooSlow()
  }

  accept(tokens: readonly number[]): void {
    for (const token of tokens) this.change(token)
  }

  rewind(count: number): void {
    if (count > 0) this.change(-count)
  }

  private change(change: number): void {
    if (!writeChange(this.memory, change, MASK_SECONDS)) throw this.tooSlow()
    wakeIfAsleep(this.thread.wakeup)
  }

  private tooSlow(): BasinError {
    return tooComplex(this.grammar, `it took more than ${MASK_SECONDS} s to find the next tokens`)
  }

  close(): void {
    this.thread.send({ type: 'close', id: this.id })
  }
}

/**
 * Drives a core at the far end of a message port: messages in, reports out. Steps follow each other while
 * there is work, and messages are taken between them; without work nothing runs. Decides when a report is
 * due. Knows no file and no engine's name.
 *
 * One report at a time is on its way: the next one waits until the last was acknowledged, and the core rests
 * when too much waits to be reported. So a listener that is slower than the engine slows the engine down, and
 * its queue stays bounded.
 */
import type { MessagePort } from 'node:worker_threads'
import { clear, type Interrupt } from '../../energy/interrupt.js'
import type { Awaitable } from '../../energy/engine.js'
import { BasinError, type ErrorMessage, toErrorMessage } from '../../errors.js'
import type { Grammar, TokenMask } from '../../tokenizer/grammar/grammar.js'
import type { TokenMasks } from '../../tokenizer/grammar/token-masks.js'
import type { Control, EngineRequest, FromWorker, ToWorker } from '../protocol.js'
import { isAcknowledged, markSent, type ReportAck, requestAckMessage } from '../report-ack.js'
import type { EngineCore } from './engine-core.js'
import type { TermModels } from './terms/term-models.js'

/**
 * Seconds that steps and tokens may wait for the next ones before they are reported: no screen shows more
 * often. A step of a small model takes a fraction of it, and a report costs both threads some hundredths of
 * a millisecond.
 */
const REPORT_INTERVAL_S = 0.016
/** The same for accounts of steps, and for events of requests that nobody follows. */
const UNFOLLOWED_REPORT_INTERVAL_S = 0.1

export interface MessageLoopOptions {
  /** For requests with a grammar; absent where the tokenizer has no token that ends a text. */
  masks?: Pick<TokenMasks, 'open'> | undefined
  /** For terms that are other models. Absent where none can be opened. */
  termModels?: Pick<TermModels, 'load'>
  reportAck: ReportAck
  /** Raised before each message to this thread that is to end a long call; cleared when it has come. */
  interrupt?: Interrupt
  /** Called once, when the port asked for the end and no step is in flight. */
  close: () => Awaitable<void>
}

const needsPreparation = ({ grammar, terms }: EngineRequest): boolean =>
  grammar !== undefined || (terms?.some(({ type }) => type === 'model') ?? false)

export class MessageLoop {
  private scheduled: NodeJS.Immediate | undefined
  private expiry: NodeJS.Timeout | undefined
  /** When `expiry` fires, in seconds of the core's clock. */
  private expiryAt: number | undefined
  /** A step is in flight. */
  private stepping = false
  /** What is to change when it is over, in this order. */
  private readonly changes: (() => void)[] = []
  /** Requests whose grammars are being compiled or models loaded, and what their clients want meanwhile. */
  private readonly preparing = new Map<string, Control[]>()
  /** The core has more to do. */
  private busy = false
  private closed = false
  private reportedAt = -Infinity
  /** Since when something waits to be reported; undefined while nothing does. */
  private dirtySince: number | undefined

  constructor(
    private readonly port: MessagePort,
    private readonly core: EngineCore,
    private readonly options: MessageLoopOptions,
  ) {
    port.on('message', (message: ToWorker) => {
      this.receive(message)
    })
  }

  private receive(message: ToWorker): void {
    const { interrupt } = this.options
    if (interrupt && message.type !== 'acknowledged') clear(interrupt)
    switch (message.type) {
      case 'submit':
        if (needsPreparation(message.request)) void this.prepare(message.request)
        else
          this.change(() => {
            this.submit(message.request)
          })
        break
      case 'control':
        this.change(() => {
          this.control(message.id, message.control)
        })
        break
      case 'acknowledged':
        this.acknowledged()
        break
      case 'ping':
        // Needs no engine: answered at once, even while a step is in flight.
        this.send({ type: 'pong', id: message.id })
        break
      case 'check':
        this.send({ type: 'pong', id: message.id, ...this.objection(message.request) })
        break
      case 'close':
        this.change(() => void this.close())
    }
  }

  /** Requests change between steps: now, or when the step in flight is over. */
  private change(apply: () => void): void {
    if (this.stepping) {
      this.changes.push(apply)
      return
    }
    apply()
    this.markDirty()
    this.wake()
  }

  /** What is wrong with a request is the failure of that request alone. */
  private submit(request: EngineRequest, mask?: TokenMask): void {
    try {
      this.core.submit(request, mask)
    } catch (error) {
      mask?.close()
      this.core.refuse(request.id, error)
    }
  }

  /** What is wrong with a request, as far as no other model and no grammar has to say it. */
  private objection(request: EngineRequest): { error?: ErrorMessage } {
    try {
      const terms = request.terms?.filter(({ type }) => type !== 'model')
      this.core.check({ ...request, ...(terms && { terms }) })
      return {}
    } catch (error) {
      return { error: toErrorMessage(error) }
    }
  }

  /**
   * Compiles the grammar of a request, beside the steps of the others, and loads the other models that its
   * terms name; submits it then.
   */
  private async prepare(request: EngineRequest): Promise<void> {
    const { grammar, id } = request
    const controls: Control[] = []
    this.preparing.set(id, controls)
    const prepared = await this.loadTermModels(request)
      .then(() => grammar && this.open(grammar))
      .then(
        (mask) => ({ mask }),
        (error: unknown) => ({ error }),
      )
    this.preparing.delete(id)
    if (this.closed) return
    this.change(() => {
      if ('error' in prepared) this.core.refuse(id, prepared.error)
      else this.submit(request, prepared.mask)
      for (const control of controls) this.control(id, control)
    })
  }

  private async loadTermModels({ terms = [] }: EngineRequest): Promise<void> {
    for (const term of terms)
      if (term.type === 'model' && term.directory !== undefined)
        await this.options.termModels?.load(term.directory)
  }

  private async open(grammar: Grammar): Promise<TokenMask> {
    const { masks } = this.options
    if (masks) return masks.open(grammar)
    const reason = "the model's tokenizer has no token that ends a text"
    throw new BasinError('not_supported', { param: grammar.param, reason })
  }

  private control(id: string, control: Control): void {
    const waiting = this.preparing.get(id)
    if (waiting) {
      waiting.push(control)
      return
    }
    try {
      this.core.control(id, control)
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      this.core.refuse(id, error)
    }
  }

  private async close(): Promise<void> {
    this.closed = true
    clearImmediate(this.scheduled)
    clearTimeout(this.expiry)
    await this.options.close()
    this.send({ type: 'closed' })
    this.port.close()
  }

  private wake(): void {
    if (this.closed || this.stepping) return
    // A step that throws ends the thread, as an uncaught exception does.
    this.scheduled ??= setImmediate(() => void this.turn())
  }

  private async turn(): Promise<void> {
    this.scheduled = undefined
    this.stepping = true
    this.busy = await this.core.step()
    this.stepping = false
    for (const apply of this.changes.splice(0)) this.change(apply)
    if (this.closed) return
    if (this.busy || this.core.hasEvents) this.markDirty()
    this.reportIfDue()
    this.awaitExpiry()
    if (this.busy && !this.core.full) this.wake()
    else if (this.dirtySince !== undefined && !requestAckMessage(this.options.reportAck))
      this.acknowledged()
  }

  /** The listener has dealt with the last report. */
  private acknowledged(): void {
    if (this.closed) return
    // A step that is about to be taken reports by itself: counts of requests it admits would be stale here.
    if (this.scheduled === undefined) this.reportIfDue()
    if (this.busy) this.wake()
  }

  private awaitExpiry(): void {
    const at = this.core.nextExpiry
    if (at === this.expiryAt) return
    this.expiryAt = at
    clearTimeout(this.expiry)
    if (at === undefined) return
    this.expiry = setTimeout(
      () => {
        this.change(() => {
          this.expiryAt = undefined
          this.core.expire()
        })
      },
      Math.ceil((at - this.core.now()) * 1000),
    )
  }

  /** Something happened, or was asked that changes what the core counts. */
  private markDirty(): void {
    this.dirtySince ??= this.core.now()
  }

  private reportIfDue(): void {
    const { reportAck } = this.options
    if (this.dirtySince === undefined || !this.isDue(this.dirtySince)) return
    if (!isAcknowledged(reportAck)) return
    markSent(reportAck)
    this.dirtySince = undefined
    this.reportedAt = this.core.now()
    this.send({ type: 'events', ...this.core.report() })
  }

  /** At once where a client waits for it or nothing follows, else when its interval is over. */
  private isDue(dirtySince: number): boolean {
    const { followed, full, urgent } = this.core
    if (urgent || full || !this.busy) return true
    const now = this.core.now()
    return followed
      ? now - this.reportedAt >= REPORT_INTERVAL_S
      : now - dirtySince >= UNFOLLOWED_REPORT_INTERVAL_S
  }

  private send(message: FromWorker): void {
    this.port.postMessage(message)
  }
}

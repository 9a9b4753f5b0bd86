/**
 * Runs a loop at the far end of a message port: messages in, reports out. One report at a time is
 * under way: the next waits until the last was heard, and the loop rests when too much waits. So a
 * listener that is slower than the engine slows it, and is not buried. While there is work, messages
 * get in between ticks; without work nothing runs. Knows no file and no engine's name.
 */
import type { MessagePort } from 'node:worker_threads'
import { type Interrupt, clear } from '../../energy/interrupt.js'
import { BasinError, toErrorMessage } from '../../errors.js'
import type { ChatMessage, ChatTemplate } from '../../tokenizer/chat-template.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { EngineCore } from './engine-core.js'
import type { Control, FromWorker, EngineRequest, ToWorker } from '../protocol.js'
import { requestAckMessage, type ReportAck } from '../report-ack.js'
import { Reporter } from './reporter.js'

export interface Languages {
  tokenizer: Tokenizer
  /** Undefined for a model that does not converse. */
  chat: ChatTemplate | undefined
}

/** `closed` is called once, when the port asked for the end. */
export function drive(
  port: MessagePort,
  loop: EngineCore,
  { chat, tokenizer }: Languages,
  closed: () => void,
  receipt: ReportAck,
  bell?: Interrupt,
): void {
  let scheduled: NodeJS.Immediate | undefined
  let expiry: NodeJS.Timeout | undefined
  /** When `expiry` fires, in seconds of the loop's clock. */
  let expiryAt: number | undefined
  const send = (message: FromWorker) => {
    port.postMessage(message)
  }

  const reporter = new Reporter(loop, receipt, (report) => {
    send({ type: 'events', ...report })
  })
  const turn = () => {
    scheduled = undefined
    reporter.stepped(loop.step())
    awaitExpiry()
    if (reporter.busy && !loop.full) wake()
    else if (reporter.hasUnreported && !requestAckMessage(receipt)) wasHeard()
  }
  const wasHeard = () => {
    reporter.reportIfDue()
    if (reporter.busy) wake()
  }
  const wake = () => {
    scheduled ??= setImmediate(turn)
  }
  const awaitExpiry = () => {
    const at = loop.nextExpiry
    if (at === expiryAt) return
    expiryAt = at
    clearTimeout(expiry)
    if (at === undefined) return
    expiry = setTimeout(
      () => {
        expiryAt = undefined
        loop.expire()
        reporter.markDirty()
        wake()
      },
      Math.ceil((at - loop.now()) * 1000),
    )
  }

  const answer = (id: number, reply: () => FromWorker) => {
    try {
      send(reply())
    } catch (error) {
      send({ type: 'refused', id, error: toErrorMessage(error) })
    }
  }
  const converse = (messages: readonly ChatMessage[]): readonly number[] => {
    if (chat) return chat.encode(messages)
    const reason = 'this model has no chat template'
    throw new BasinError('not_supported', { param: 'messages', reason })
  }
  /** Whatever is wrong with a job is the failure of that job alone. */
  const submit = (job: EngineRequest) => {
    try {
      loop.submit(job)
    } catch (error) {
      loop.refuse(job.id, error)
    }
  }
  const control = (id: string, asked: Control) => {
    try {
      loop.control(id, asked)
    } catch (error) {
      if (!(error instanceof BasinError)) throw error
      loop.refuse(id, error)
    }
  }

  port.on('message', (message: ToWorker) => {
    if (bell && message.type !== 'acknowledged') clear(bell)
    switch (message.type) {
      case 'submit':
        submit(message.job)
        reporter.markDirty()
        wake()
        break
      case 'control':
        control(message.id, message.control)
        reporter.markDirty()
        wake()
        break
      case 'acknowledged':
        wasHeard()
        break
      case 'tokenize': {
        const { id, text } = message
        answer(id, () => ({ type: 'tokens', id, tokens: tokenizer.encode(text) }))
        break
      }
      case 'detokenize': {
        const { id, tokens } = message
        answer(id, () => ({ type: 'text', id, text: tokenizer.decode(tokens) }))
        break
      }
      case 'chat': {
        const { id, messages } = message
        answer(id, () => ({ type: 'tokens', id, tokens: converse(messages) }))
        break
      }
      case 'close':
        clearImmediate(scheduled)
        clearTimeout(expiry)
        closed()
        send({ type: 'closed' })
        port.close()
    }
  })
}

/**
 * A completion as chunks: its text as it becomes certain, and what the descent does if that was asked for.
 * The chunks of several choices interleave.
 */
import type { FastifyBaseLogger } from 'fastify'
import { PassThrough, type Readable } from 'node:stream'
import type { BasinError } from '../../errors.js'
import { isSettled, settledAnswers } from '../../generation/settled-answers.js'
import { asBasinError, publicError } from '../error-boundary.js'
import { settledFields, stepFields } from '../event-fields.js'
import { eventText, streamOpening } from '../event-stream.js'
import type { SuccessEvent } from '../requests/request-service.js'
import type { ChoiceAccumulator, CompletionRun, TextPart } from './completion-run.js'

export interface StreamOptions {
  include_usage?: boolean
  include_refinement?: boolean
}

interface ChunkPart extends TextPart {
  finish_reason?: string
  /** Sent only if it was asked for. */
  refinement?: object
}

const noText: TextPart = { text: '', logprobs: null }

/** What one event adds to a choice: a part for each chunk. None for what this client did not ask for. */
function partsOf(
  accumulator: ChoiceAccumulator,
  event: SuccessEvent,
  refinement: boolean,
): ChunkPart[] {
  if (isSettled(event)) {
    return settledAnswers(event).flatMap((answer) => {
      const part = accumulator.settle(answer)
      if (refinement) {
        return [{ ...part, refinement: { type: 'committed', ...settledFields(answer) } }]
      }
      return part.text || part.logprobs ? [part] : []
    })
  }
  switch (event.type) {
    case 'started': {
      const part = accumulator.start(event)
      return part.text ? [part] : []
    }
    case 'scored':
      return [accumulator.score(event)]
    case 'step':
      return refinement ? [{ ...noText, refinement: { type: 'step', ...stepFields(event) } }] : []
    case 'saved':
    case 'probed':
    case 'declined':
      return []
    case 'finished': {
      accumulator.finished = event
      const { finishReason, refinement: descent } = event
      const summary = { type: 'finished', ...descent }
      return [{ ...noText, finish_reason: finishReason, refinement: summary }]
    }
  }
}

/** The events of one reply, written no faster than the client reads them. */
class ChunkWriter {
  readonly body = new PassThrough()
  /** A choice has started, or completed. */
  started = false
  /** Choices of which a chunk was written. */
  private readonly begun = new Set<number>()

  constructor(
    private readonly run: CompletionRun,
    private readonly options: StreamOptions,
    private readonly onStart: () => void,
  ) {
    this.body.write(streamOpening)
  }

  readonly take = async (event: SuccessEvent, index: number): Promise<void> => {
    this.start()
    const { api, choices, head } = this.run
    const accumulator = choices[index]?.accumulator
    if (!accumulator) return
    const { include_refinement = false, include_usage } = this.options
    for (const part of partsOf(accumulator, event, include_refinement)) {
      const { finish_reason = null, logprobs, refinement, text } = part
      const first = !this.begun.has(index)
      this.begun.add(index)
      await this.write({
        ...head,
        choices: [api.chunkChoice({ index, first, text, logprobs, finish_reason })],
        ...(include_usage && { usage: null }),
        ...(include_refinement && refinement && { refinement }),
      })
    }
  }

  async end(): Promise<void> {
    this.start()
    const { head, usage } = this.run
    if (this.options.include_usage) await this.write({ ...head, choices: [], usage })
    await this.write('[DONE]')
    this.body.end()
  }

  /** In place of all that would follow. */
  async fail(error: BasinError): Promise<void> {
    await this.write(publicError(error).toJSON())
    this.body.end()
  }

  private start(): void {
    if (this.started) return
    this.started = true
    this.onStart()
  }

  /** Resolves when the client can take more, and at once after it has left. */
  private async write(data: object | '[DONE]'): Promise<void> {
    const { body } = this
    if (body.writableEnded || body.destroyed) return
    if (body.write(eventText(typeof data === 'string' ? data : JSON.stringify(data)))) return
    await new Promise<void>((resolve) => {
      const proceed = () => {
        body.off('drain', proceed).off('close', proceed)
        resolve()
      }
      body.once('drain', proceed).once('close', proceed)
    })
  }
}

/**
 * The body of the reply. Resolves when the first choice has started, and throws what is wrong with the
 * request before that, since an error can have a status of its own only until then.
 */
export function streamCompletion(
  run: CompletionRun,
  options: StreamOptions,
  log: FastifyBaseLogger,
): Promise<Readable> {
  return new Promise((resolve, reject) => {
    const writer = new ChunkWriter(run, options, () => {
      resolve(writer.body)
    })
    run
      .follow(writer.take)
      .then(() => writer.end())
      .catch((cause: unknown) => {
        const error = asBasinError(cause)
        if (!writer.started) {
          reject(error)
          return undefined
        }
        if (error.status >= 500) log.error({ err: cause }, 'a stream failed')
        return writer.fail(error)
      })
  })
}

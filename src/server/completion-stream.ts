/**
 * A completion as chunks: text as it becomes certain, refinement data only if it was asked for. All
 * chunks share one head; with several choices they interleave.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Readable } from 'node:stream'
import { BasinError } from '../errors.js'
import type { RequestEvent } from '../generation/protocol.js'
import { settledAnswers } from '../generation/settled-answers.js'
import { type Following, type Progress, tokensOf, type Underway } from './completion.js'
import { told } from './error-boundary.js'
import { EventStream } from './event-stream.js'
import { cancelAll } from './runs.js'
import type { Logprobs } from './schemas/completion.js'
import { settledOf, stepOf, usageOf } from './wire.js'

export interface StreamOptions {
  include_usage?: boolean
  include_refinement?: boolean
}

/** What one chunk says of one choice. */
export interface ChunkChoice {
  index: number
  /** Nothing has been said of this choice before. */
  first: boolean
  text: string
  logprobs: Logprobs | null
  finish_reason: string | null
}

const asCompletion = ({ finish_reason, index, logprobs, text }: ChunkChoice): object => ({
  index,
  text,
  logprobs,
  finish_reason,
})

interface Part {
  text: string
  logprobs: Logprobs | null
  finish_reason: string | null
  /** Present in the chunk only if asked for. */
  refinement?: object
}

/** What one event adds to a choice, a part for each answer; nothing that this client did not ask for. */
function partsOf(
  progress: Progress,
  event: Exclude<RequestEvent, { type: 'failed' }>,
  options: StreamOptions,
): Part[] {
  if (event.type !== 'settled') {
    const part = partOf(progress, event, options)
    return part ? [part] : []
  }
  return settledAnswers(event).flatMap((answer) => {
    const part = { ...progress.settle(answer), finish_reason: null }
    if (options.include_refinement)
      return { ...part, refinement: { type: 'committed', ...settledOf(answer) } }
    return part.text || part.logprobs ? part : []
  })
}

function partOf(
  progress: Progress,
  event: Exclude<RequestEvent, { type: 'failed' | 'settled' }>,
  { include_refinement: refinement = false }: StreamOptions,
): Part | undefined {
  const part = { ...progress.take(event), finish_reason: null }
  switch (event.type) {
    case 'started':
      return part.text ? part : undefined
    case 'step':
      return refinement ? { ...part, refinement: { type: 'step', ...stepOf(event) } } : undefined
    case 'scored':
      return part
    case 'probed':
      return undefined
    case 'finished':
      return {
        ...part,
        finish_reason: event.finishReason,
        refinement: { type: 'finished', ...event.refinement },
      }
  }
}

/**
 * The body of the reply; `phrase`: in the words of the API that was asked. Resolves when the first choice has started, and throws what is wrong with
 * the request before, so that errors have a status of their own as long as they can.
 */
export async function streamCompletion(
  underway: Underway,
  options: StreamOptions,
  log: FastifyBaseLogger,
  phrase: (choice: ChunkChoice) => object = asCompletion,
): Promise<Readable> {
  const firsts = underway.choices.map(({ events }) => events.next())
  try {
    await Promise.race(firsts)
  } catch (error) {
    cancelAll(underway.runs)
    underway.leave()
    throw error
  }
  const stream = new EventStream()
  void relay(underway, firsts, options, stream, phrase)
    .catch(async (error: unknown) => {
      cancelAll(underway.runs)
      const failure = error instanceof BasinError ? error : new BasinError('internal')
      if (failure.status >= 500) log.error({ err: error }, 'a stream failed')
      await stream.send(told(failure).toJSON())
      stream.end()
    })
    .finally(underway.leave)
  return stream.body
}

async function relay(
  underway: Underway,
  firsts: readonly ReturnType<Following['events']['next']>[],
  options: StreamOptions,
  stream: EventStream,
  phrase: (choice: ChunkChoice) => object,
): Promise<void> {
  const { head, choices } = underway
  const begun = new Set<number>()
  const usage = options.include_usage ? { usage: null } : {}
  const tell = async (index: number, { refinement, ...choice }: Part) => {
    await stream.send({
      ...head,
      choices: [phrase({ index, first: !begun.has(index), ...choice })],
      ...usage,
      ...(options.include_refinement && refinement && { refinement }),
    })
    begun.add(index)
  }
  await Promise.all(
    choices.map(async ({ progress, events }, index) => {
      let next = await firsts[index]
      while (next && !next.done) {
        for (const part of partsOf(progress, next.value, options)) await tell(index, part)
        next = await events.next()
      }
    }),
  )
  if (options.include_usage) {
    const tokens = tokensOf(choices.map(({ progress }) => progress))
    await stream.send({ ...head, choices: [], usage: usageOf(tokens.prompt, tokens.completion) })
  }
  await stream.send('[DONE]')
  stream.end()
}

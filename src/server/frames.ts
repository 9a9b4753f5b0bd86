/** The socket's two languages: what a client's message says, and how an event is told to it. */
import { Compile } from 'typebox/compile'
import { BasinError, fromErrorMessage } from '../errors.js'
import type { JobEvent } from '../generation/protocol.js'
import { nestsBeyond } from './nesting.js'
import { type ClientFrame, clientFrames } from './schemas/frames.js'
import { refusal } from './validation.js'
import { settledOf, stepOf, usageOf } from './wire.js'

const validators = {
  start: Compile(clientFrames.start),
  extend: Compile(clientFrames.extend),
  finish: Compile(clientFrames.finish),
  cancel: Compile(clientFrames.cancel),
  pause: Compile(clientFrames.pause),
  resume: Compile(clientFrames.resume),
  clamp: Compile(clientFrames.clamp),
}

const invalid = (reason: string, cause?: unknown): BasinError =>
  new BasinError('invalid_frame', { param: 'frame', reason }, { cause })

/** Reads a text message. Throws `invalid_frame`, or what is wrong with a field. */
export function parseFrame(text: string, nesting: number): ClientFrame {
  if (nestsBeyond(text, nesting)) throw invalid(`it nests deeper than ${nesting}`)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw invalid('it is not JSON', cause)
  }
  const type = typeof json === 'object' && json !== null && 'type' in json ? json.type : undefined
  if (typeof type !== 'string' || !Object.hasOwn(validators, type)) {
    throw invalid(`its type must be one of ${Object.keys(validators).join(', ')}`)
  }
  const validator = validators[type as keyof typeof validators]
  if (validator.Check(json)) return json
  throw refusal(validator.Errors(json), json, 'frame')
}

/** Refuses what cannot be a frame, before its text is looked at. */
export function checkMessage(bytes: number, binary: boolean, limit: number): void {
  if (binary) throw invalid('it is binary; frames are JSON text')
  if (bytes > limit) throw invalid(`it is longer than ${limit} bytes`)
}

export interface ServerFrame {
  type: 'started' | 'step' | 'committed' | 'finished' | 'error'
  [field: string]: unknown
}

/** Without the sequence number, which belongs to the connection. Undefined: of no concern here. */
export function frameOf(
  event: Exclude<JobEvent, { type: 'failed' }>,
  run: { id: string; model: string },
): ServerFrame | undefined {
  switch (event.type) {
    case 'started':
      return {
        type: 'started',
        ...run,
        prompt_tokens: event.promptTokens,
        queue_seconds: event.queueSeconds,
      }
    case 'step':
      return { type: 'step', ...stepOf(event) }
    case 'committed': {
      const { logprobs, text } = event
      return { type: 'committed', text, ...settledOf(event), ...(logprobs && { logprobs }) }
    }
    case 'declined':
      return { type: 'error', ...fromErrorMessage(event.error).toJSON() }
    case 'judged':
    case 'stride':
    case 'surveyed':
      return undefined
    case 'finished': {
      const { finishReason, refinement, text, usage } = event
      return {
        type: 'finished',
        finish_reason: finishReason,
        text,
        usage: usageOf(usage.promptTokens, usage.completionTokens),
        refinement,
      }
    }
  }
}

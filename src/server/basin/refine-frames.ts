/** The messages that a client sends over the socket: from text to a frame. */
import { Compile } from 'typebox/compile'
import { BasinError } from '../../errors.js'
import { nestsBeyond } from '../json-nesting.js'
import { refusal } from '../schema-errors.js'
import { type ClientFrame, clientFrames } from '../schemas/frame-schema.js'

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

/** Throws `invalid_frame`, or what is wrong with a field. */
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

/** Refuses a message that cannot be a frame, before its text is decoded. */
export function checkMessage(bytes: number, binary: boolean, limit: number): void {
  if (binary) throw invalid('it is binary; frames are JSON text')
  if (bytes > limit) throw invalid(`it is longer than ${limit} bytes`)
}

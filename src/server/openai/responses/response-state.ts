/**
 * The state of a response that a client takes away and brings back: its thought, what was asked, and its text so
 * far, signed by the server. Whoever has the key, which other processes may share, goes on with it; a state that
 * was changed is refused before anything of it is looked at.
 *
 *   basin-state-1.MODEL.PAYLOAD.SIGNATURE
 *
 * Each part is base64url: the model's name, which says who can go on; then the length of a text (uint32,
 * little-endian), the text, which is `StateContent` without the thought as JSON, and the thought; then the
 * HMAC-SHA-256 of all before it.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { BasinError } from '../../../errors.js'
import type { Steer } from '../../../generation/protocol.js'
import type { Checkpoint } from '../../../jobs/store.js'
import type { NewRequest } from '../../requests/request-service.js'
import type { StoredItem } from '../../schemas/response-schema.js'
import type { Turn } from '../chat-prompt.js'
import type { Given, ResponseHead } from './response-event-writer.js'

const PREFIX = 'basin-state-1'
const LENGTH_BYTES = 4

/** An answer in descent, and what was asked. */
export interface SavedAnswer extends Pick<Checkpoint, 'limits' | 'steered' | 'steps' | 'thought'> {
  model: string
  request: NewRequest
  /** Its text so far. */
  given: Given
  /** Controls that have changed its course. */
  steers: Steer[]
}

export interface StateContent extends SavedAnswer {
  head: ResponseHead
  items: StoredItem[]
  history: Turn[]
}

const refuse = (reason: string): BasinError => new BasinError('invalid_state', { reason })

const partsOf = (text: string): string[] => {
  const parts = text.split('.')
  if (parts.length === 4 && parts[0] === PREFIX) return parts
  throw refuse('it is not what GET /v1/responses/{id}/state gives')
}

/** The model that a state is of, which its signature is not asked for. Throws `invalid_state`. */
export const modelOfState = (text: string): string =>
  Buffer.from(partsOf(text)[1] ?? '', 'base64url').toString()

/** Without a signature, which a file of its user's own machine does not need. */
export function textOfState({ thought, ...content }: SavedAnswer): string {
  const text = Buffer.from(JSON.stringify(content))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32LE(text.length)
  const payload = Buffer.concat([length, text, thought]).toString('base64url')
  const model = Buffer.from(content.model).toString('base64url')
  return `${[PREFIX, model, payload].join('.')}.`
}

/** Whoever calls it trusts the text. Throws `invalid_state` for one that is no state. */
export function contentOf(sealed: string): SavedAnswer {
  const bytes = Buffer.from(partsOf(sealed)[2] ?? '', 'base64url')
  if (bytes.length < LENGTH_BYTES) throw refuse('it is incomplete')
  const end = LENGTH_BYTES + bytes.readUInt32LE()
  const text = bytes.subarray(LENGTH_BYTES, end).toString()
  const content = JSON.parse(text) as Omit<SavedAnswer, 'thought'>
  return { ...content, thought: new Uint8Array(bytes.subarray(end)) }
}

export class StateSeal {
  /** `key`: at least 32 bytes, which only servers know. */
  constructor(private readonly key: Uint8Array) {}

  seal(content: StateContent): string {
    const text = textOfState(content)
    return text + this.signatureOf(text).toString('base64url')
  }

  /** Throws `invalid_state`. */
  open(sealed: string): StateContent {
    const found = Buffer.from(partsOf(sealed)[3] ?? '', 'base64url')
    const expected = this.signatureOf(sealed.slice(0, sealed.lastIndexOf('.') + 1))
    if (found.length !== expected.length || !timingSafeEqual(found, expected))
      throw refuse('it was changed, or another server has signed it')
    return contentOf(sealed) as StateContent
  }

  private signatureOf(text: string): Buffer {
    return createHmac('sha256', this.key).update(text).digest()
  }
}

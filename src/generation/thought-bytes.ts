/**
 * A thought as bytes: plain data, with its numbers to the bit, bound to the model, the weights and the kind of
 * engine that it comes from. Knows the bytes and not what the data means; needs nothing of Node's.
 *
 * Layout, little-endian as every machine that the engines run on:
 *
 *   0   52 bytes  header (src/energy/saved-header.ts), of "BASINTHT"
 *   52  uint32    bytes of the text
 *   56  uint32    CRC-32 of all other bytes
 *   60            the data as JSON, in UTF-8; then the bytes of its arrays of numbers
 */
import type { EnergyEngine, EngineInfo } from '../energy/engine.js'
import {
  checkFormat,
  checkOwner,
  checkWhole,
  HEADER_END,
  type SavedFormat,
  type SavedOwner,
  writeHeader,
  viewOf,
} from '../energy/saved-header.js'

const format: SavedFormat = {
  magic: 'BASINTHT',
  // Of the layout and of the data: whoever changes either counts it up.
  version: 2,
  name: 'thought',
  checksumAt: HEADER_END + 4,
}
const LENGTH_AT = HEADER_END
const TEXT_AT = 60

/** Whose state a thought is. */
export interface ThoughtOwner extends Pick<EnergyEngine, 'identity'> {
  info: Pick<EngineInfo, 'name'>
}

type Numbers = Float32Array | Uint8Array

/** What stands in the JSON for an array of numbers: its kind, where its bytes begin, and how many there are. */
interface Reference {
  $: 'f32' | 'u8'
  at: number
  bytes: number
}

/** What stands for a number that JSON has no word for. */
interface Unusual {
  $: 'NaN' | 'Infinity' | '-Infinity'
}

const ownerOf = ({ identity, info }: ThoughtOwner): SavedOwner => ({ identity, kind: info.name })

/** `data`: objects, arrays, texts, numbers, and Float32Array and Uint8Array. An array that occurs twice is kept once. */
export function packThought(owner: ThoughtOwner, data: object): Uint8Array {
  const found = new Map<Numbers, Reference>()
  let length = 0
  const text = JSON.stringify(data, (_, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) return { $: String(value) }
    if (!(value instanceof Float32Array || value instanceof Uint8Array)) {
      if (ArrayBuffer.isView(value)) throw new TypeError('a thought has no arrays of other numbers')
      return value
    }
    const before = found.get(value)
    if (before) return before
    const $ = value instanceof Float32Array ? 'f32' : 'u8'
    const reference: Reference = { $, at: length, bytes: value.byteLength }
    found.set(value, reference)
    length += value.byteLength
    return reference
  })
  const head = new TextEncoder().encode(text)
  const bytes = new Uint8Array(TEXT_AT + head.length + length)
  viewOf(bytes).setUint32(LENGTH_AT, head.length, true)
  bytes.set(head, TEXT_AT)
  for (const [{ buffer, byteLength, byteOffset }, { at }] of found)
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), TEXT_AT + head.length + at)
  writeHeader(bytes, format, ownerOf(owner))
  return bytes
}

/**
 * Throws `invalid_state` for bytes that are no thought, are damaged, or are of another version, kind of engine or
 * model.
 */
export function checkThought(owner: ThoughtOwner, bytes: Uint8Array): void {
  checkFormat(bytes, format, TEXT_AT)
  checkWhole(bytes, format)
  checkOwner(bytes, ownerOf(owner), 'an engine of its kind goes on with it')
}

/** The data of a thought. Throws as `checkThought` does. */
export function unpackThought(owner: ThoughtOwner, bytes: Uint8Array): unknown {
  checkThought(owner, bytes)
  const numbersAt = TEXT_AT + viewOf(bytes).getUint32(LENGTH_AT, true)
  const text = new TextDecoder().decode(bytes.subarray(TEXT_AT, numbersAt))
  const made = new Map<number, Numbers>()
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('$' in value)) return value
    const stands = value as Reference | Unusual
    if (!('at' in stands)) return Number(stands.$)
    const before = made.get(stands.at)
    if (before && stands.bytes > 0) return before
    // A copy, because the bytes of a caller need not be aligned.
    const own = bytes.slice(numbersAt + stands.at, numbersAt + stands.at + stands.bytes)
    const numbers = stands.$ === 'f32' ? new Float32Array(own.buffer) : own
    made.set(stands.at, numbers)
    return numbers
  })
}

/**
 * A thought as bytes: plain data, with its numbers to the bit, bound to the model, the weights and the kind of
 * engine that it comes from. Knows the bytes and not what the data means; needs nothing of Node's.
 *
 * Layout, little-endian as every machine that the engines run on:
 *
 *   0   8 bytes   "BASINTHT"
 *   8   uint32    version
 *   12  8 bytes   kind of engine, ASCII, padded with zeros
 *   20  32 bytes  identity of the model and its weights
 *   52  uint32    bytes of the text
 *   56  uint32    CRC-32 of all other bytes
 *   60            the data as JSON, in UTF-8; then the bytes of its arrays of numbers
 */
import { checksumAround } from '../energy/crc.js'
import type { EnergyEngine, EngineInfo } from '../energy/engine.js'
import { BasinError } from '../errors.js'

const MAGIC = 'BASINTHT'
/** Of the layout and of the data: whoever changes either counts it up. */
const VERSION = 1
const KIND_AT = 12
const IDENTITY_AT = 20
const LENGTH_AT = 52
const CHECKSUM_AT = 56
const HEADER_BYTES = 60

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

const refuse = (reason: string): never => {
  throw new BasinError('invalid_state', { reason })
}

const viewOf = ({ buffer, byteLength, byteOffset }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)

const asciiOf = (bytes: Uint8Array): string =>
  String.fromCharCode(...bytes.filter((byte) => byte !== 0))

/** As the layout has room for it. */
const kindOf = ({ info }: Pick<ThoughtOwner, 'info'>): string =>
  info.name.slice(0, IDENTITY_AT - KIND_AT)

const codesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))

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
  const bytes = new Uint8Array(HEADER_BYTES + head.length + length)
  const view = new DataView(bytes.buffer)
  bytes.set(codesOf(MAGIC))
  view.setUint32(8, VERSION, true)
  bytes.set(codesOf(kindOf(owner)), KIND_AT)
  bytes.set(owner.identity, IDENTITY_AT)
  view.setUint32(LENGTH_AT, head.length, true)
  bytes.set(head, HEADER_BYTES)
  for (const [{ buffer, byteLength, byteOffset }, { at }] of found)
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), HEADER_BYTES + head.length + at)
  view.setUint32(CHECKSUM_AT, checksumAround(bytes, CHECKSUM_AT), true)
  return bytes
}

/**
 * Throws `invalid_state` for bytes that are no thought, are damaged, or are of another version, kind of engine or
 * model.
 */
export function checkThought(owner: ThoughtOwner, bytes: Uint8Array): void {
  if (bytes.length < HEADER_BYTES || asciiOf(bytes.subarray(0, 8)) !== MAGIC)
    refuse('these bytes are not a thought')
  const view = viewOf(bytes)
  const version = view.getUint32(8, true)
  if (version !== VERSION) refuse(`it has version ${version}; this server reads ${VERSION}`)
  if (view.getUint32(CHECKSUM_AT, true) !== checksumAround(bytes, CHECKSUM_AT))
    refuse('it is damaged: its checksum does not match')
  const kind = asciiOf(bytes.subarray(KIND_AT, IDENTITY_AT))
  if (kind !== kindOf(owner))
    refuse(
      `it was saved by the engine ${kind}, and this is ${kindOf(owner)}; an engine of its kind goes on with it`,
    )
  if (owner.identity.some((byte, i) => byte !== bytes[IDENTITY_AT + i]))
    refuse('it was saved by another model, or by other weights of this one')
}

/** The data of a thought. Throws as `checkThought` does. */
export function unpackThought(owner: ThoughtOwner, bytes: Uint8Array): unknown {
  checkThought(owner, bytes)
  const view = viewOf(bytes)
  const numbersAt = HEADER_BYTES + view.getUint32(LENGTH_AT, true)
  const text = new TextDecoder().decode(bytes.subarray(HEADER_BYTES, numbersAt))
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

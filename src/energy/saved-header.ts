/**
 * How the bytes of saved answers and thoughts begin: what they are, and whose. Writes and checks the header; what
 * follows it is up to its callers.
 *
 * Layout, little-endian as every machine that the engines run on:
 *
 *   0   8 bytes   what the bytes are, ASCII
 *   8   uint32    version
 *   12  8 bytes   kind of engine, ASCII, padded with zeros
 *   20  32 bytes  identity of the model and its weights
 *
 * Further on, at a place of their own, stands the CRC-32 of all other bytes.
 */
import { BasinError } from '../errors.js'
import { checksumAround } from './crc.js'

const VERSION_AT = 8
const KIND_AT = 12
const IDENTITY_AT = 20
/** Where the header ends. */
export const HEADER_END = 52

/** One kind of saved bytes. */
export interface SavedFormat {
  /** Eight ASCII characters. */
  magic: string
  version: number
  /** What messages call it. */
  name: string
  /** Where the checksum stands. */
  checksumAt: number
}

/** What must be equal where bytes are saved and where they are read. */
export interface SavedOwner {
  /** `EngineInfo.name`, of which eight characters are kept. */
  kind: string
  /** `modelIdentity` of model-identity.ts. */
  identity: Uint8Array
}

export const refuseSaved = (reason: string): never => {
  throw new BasinError('invalid_state', { reason })
}

export const viewOf = ({ buffer, byteLength, byteOffset }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)

const asciiOf = (bytes: Uint8Array): string =>
  String.fromCharCode(...bytes.filter((byte) => byte !== 0))

const codesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))

const shortKind = ({ kind }: SavedOwner): string => kind.slice(0, IDENTITY_AT - KIND_AT)

/** Writes header and checksum around all that is in `bytes` already. */
export function writeHeader(bytes: Uint8Array, format: SavedFormat, owner: SavedOwner): void {
  const { checksumAt, magic, version } = format
  const view = viewOf(bytes)
  bytes.set(codesOf(magic))
  view.setUint32(VERSION_AT, version, true)
  bytes.set(codesOf(shortKind(owner)), KIND_AT)
  bytes.set(owner.identity, IDENTITY_AT)
  view.setUint32(checksumAt, checksumAround(bytes, checksumAt), true)
}

/** Throws `invalid_state` for bytes of another format or version. `least`: the bytes that there must be. */
export function checkFormat(
  bytes: Uint8Array,
  { magic, name, version }: SavedFormat,
  least: number,
): void {
  if (bytes.length < least || asciiOf(bytes.subarray(0, VERSION_AT)) !== magic)
    refuseSaved(`these bytes are not a ${name}`)
  const found = viewOf(bytes).getUint32(VERSION_AT, true)
  if (found !== version) refuseSaved(`it has version ${found}; this server reads ${version}`)
}

/** Throws `invalid_state` for bytes that are damaged. After `checkFormat`. */
export function checkWhole(bytes: Uint8Array, { checksumAt }: SavedFormat): void {
  if (viewOf(bytes).getUint32(checksumAt, true) !== checksumAround(bytes, checksumAt))
    refuseSaved('it is damaged: its checksum does not match')
}

/** Throws `invalid_state` for bytes of another kind of engine or model. `advice`: what to do about the former. */
export function checkOwner(bytes: Uint8Array, owner: SavedOwner, advice: string): void {
  const kind = asciiOf(bytes.subarray(KIND_AT, IDENTITY_AT))
  if (kind !== shortKind(owner))
    refuseSaved(`it was saved by the engine ${kind}, and this is ${shortKind(owner)}; ${advice}`)
  if (owner.identity.some((byte, i) => byte !== bytes[IDENTITY_AT + i]))
    refuseSaved('it was saved by another model, or by other weights of this one')
}

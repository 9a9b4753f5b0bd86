/**
 * The saved form of an answer in descent, which `save` returns and `restore` reads. Engines turn their slots
 * into numbers and values and back; this file writes, checks and reads the bytes. It knows no engine.
 *
 * Layout, little-endian as every machine that the engines run on:
 *
 *   0   52 bytes  header (saved-header.ts), of "BASINANS"
 *   52  uint32    count of numbers: 7 + K
 *   56  uint32    count of values
 *   60  uint32    CRC-32 of all other bytes
 *   64  float64   numbers: observed tokens of the context, seed (low word, high word), candidate, 1 where the
 *                 state counts as an answer, best energy, a number of the engine's own, then [K] clamped
 *                 tokens, -1 where a position moves
 *       float32   values: the state, the best answer, and what else the engine keeps
 */
import { seedWords } from '../refine/random.js'
import {
  checkFormat,
  checkOwner,
  checkWhole,
  HEADER_END,
  refuseSaved as refuse,
  type SavedFormat,
  type SavedOwner,
  writeHeader,
  viewOf,
} from './saved-header.js'

const format: SavedFormat = {
  magic: 'BASINANS',
  version: 1,
  name: 'saved answer',
  checksumAt: HEADER_END + 8,
}
const COUNTS_AT = HEADER_END
const BODY_AT = 64
/** Numbers before the clamped tokens. */
const FIXED_NUMBERS = 7

export interface AnswerState {
  /** Observed tokens of the context. */
  contextLength: number
  /** A safe integer, of either sign. */
  seed: number
  candidate: number
  stateIsAnswer: boolean
  /** Infinity while there is no answer yet. */
  bestEnergy: number
  /** A small integer that means something to the engine alone. */
  engineNumber: number
  /** [K], -1 where a position moves. */
  clamped: Int32Array
  values: Float32Array
}

/** What must be equal where an answer is saved and where it is restored. */
export interface StateOwner extends SavedOwner {
  /** K and V of the model. */
  block: number
  vocabSize: number
  /** The count of `AnswerState.values`. */
  values: number
}

/** Bytes of the layout with no answer in them yet, and where its numbers and values go. */
export function unsealedState({ block, values: valueCount }: StateOwner) {
  const numberCount = countOfNumbers(block)
  const valuesAt = BODY_AT + 8 * numberCount
  const bytes = new Uint8Array(valuesAt + 4 * valueCount)
  const view = viewOf(bytes)
  view.setUint32(COUNTS_AT, numberCount, true)
  view.setUint32(COUNTS_AT + 4, valueCount, true)
  return {
    bytes,
    numbers: new Float64Array(bytes.buffer, BODY_AT, numberCount),
    values: new Float32Array(bytes.buffer, valuesAt, valueCount),
  }
}

/** Makes bytes of `unsealedState`, whose numbers and values have been written, a saved answer. */
export function sealState(owner: StateOwner, bytes: Uint8Array): Uint8Array {
  writeHeader(bytes, format, owner)
  return bytes
}

export function encodeState(owner: StateOwner, state: AnswerState): Uint8Array {
  const { bytes, numbers, values } = unsealedState(owner)
  numbers.set(numbersOf(state))
  values.set(state.values)
  return sealState(owner, bytes)
}

/** The numbers of the layout above. */
export const numbersOf = (state: AnswerState): Float64Array =>
  Float64Array.of(
    state.contextLength,
    ...seedWords(state.seed),
    state.candidate,
    Number(state.stateIsAnswer),
    state.bestEnergy,
    state.engineNumber,
    ...state.clamped,
  )

/** How many numbers the layout has for K positions. */
const countOfNumbers = (block: number): number => FIXED_NUMBERS + block

/**
 * Throws `invalid_state` for bytes that are no saved answer, are damaged, or are of another version, kind of
 * engine or model. Nothing in the result is out of range; its values may be a view of `bytes`.
 */
export function decodeState(owner: StateOwner, bytes: Uint8Array): AnswerState {
  checkFormat(bytes, format, BODY_AT)
  const view = viewOf(bytes)
  const numberCount = view.getUint32(COUNTS_AT, true)
  const valueCount = view.getUint32(COUNTS_AT + 4, true)
  const expected = BODY_AT + 8 * numberCount + 4 * valueCount
  if (bytes.length !== expected)
    refuse(`it is incomplete: it has ${bytes.length} bytes and should have ${expected}`)
  checkWhole(bytes, format)
  checkOwner(bytes, owner, 'restore it on an engine of its kind')
  if (numberCount !== countOfNumbers(owner.block) || valueCount !== owner.values)
    refuse(`it has ${numberCount} numbers and ${valueCount} values, which do not fit this model`)
  // Numbers are read where they are, unless these bytes, as those of a caller may, begin in between two.
  const aligned = (bytes.byteOffset + BODY_AT) % Float64Array.BYTES_PER_ELEMENT === 0
  const { buffer, byteOffset } = aligned ? bytes.subarray(BODY_AT) : bytes.slice(BODY_AT)
  const values = new Float32Array(buffer, byteOffset + 8 * numberCount, valueCount)
  return stateOf(owner, new Float64Array(buffer, byteOffset, numberCount), values)
}

/** The inverse of `numbersOf`. Throws `invalid_state` for a number that is out of range. */
function stateOf(owner: StateOwner, numbers: Float64Array, values: Float32Array): AnswerState {
  const whole = (at: number, name: string, limit: number, from = 0): number => {
    const value = numbers[at] as number
    if (!Number.isInteger(value) || value < from || value >= limit)
      refuse(`its ${name} is ${value}, and must be an integer from ${from} to ${limit - 1}`)
    return value
  }
  const bestEnergy = numbers[5] as number
  if (Number.isNaN(bestEnergy)) refuse('its best energy is not a number')
  // The high word is signed, so that negative seeds come back as they were.
  const seed = (whole(2, 'seed', 2 ** 32) | 0) * 2 ** 32 + whole(1, 'seed', 2 ** 32)
  if (!Number.isSafeInteger(seed)) refuse('its seed is out of range')
  return {
    contextLength: whole(0, 'context length', 2 ** 31),
    seed,
    candidate: whole(3, 'candidate', 2 ** 32),
    stateIsAnswer: whole(4, 'flag', 2) === 1,
    bestEnergy,
    engineNumber: whole(6, 'engine number', 256),
    clamped: Int32Array.from({ length: owner.block }, (_, i) =>
      whole(FIXED_NUMBERS + i, 'clamped token', owner.vocabSize, -1),
    ),
    values,
  }
}

/** Throws `invalid_state` where a state was saved under a context of another length. */
export function checkContextLength(state: AnswerState, observed: number): void {
  if (state.contextLength !== observed)
    refuse(
      `it was saved after ${state.contextLength} observed tokens, and this context has ${observed}`,
    )
}

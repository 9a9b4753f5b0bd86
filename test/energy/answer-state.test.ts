/** The bytes of a saved answer: checks that an intact checksum does not make superfluous. */
import { describe, expect, it } from 'vitest'
import {
  type AnswerState,
  decodeState,
  encodeState,
  type StateOwner,
} from '../../src/energy/answer-state.js'

const owner: StateOwner = {
  kind: 'native',
  identity: new Uint8Array(32).fill(9),
  block: 2,
  vocabSize: 11,
  values: 3,
}
const state: AnswerState = {
  contextLength: 5,
  seed: Number.MIN_SAFE_INTEGER,
  candidate: 2 ** 32 - 1,
  stateIsAnswer: true,
  bestEnergy: Infinity,
  engineNumber: 2,
  clamped: Int32Array.of(-1, 10),
  values: Float32Array.of(1.5, -0, NaN),
}
const refused = (reason: RegExp): Error =>
  expect.objectContaining({
    code: 'invalid_state',
    message: expect.stringMatching(reason) as string,
  }) as Error

describe('a saved answer', () => {
  it('comes back as it was', () => {
    for (const seed of [0, 1, -1, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, state.seed])
      expect(decodeState(owner, encodeState(owner, { ...state, seed }))).toEqual({ ...state, seed })
  })

  it('is read from bytes at any offset', () => {
    const bytes = encodeState(owner, state)
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    expect(decodeState(owner, shifted.subarray(3))).toEqual(state)
  })

  it.each([
    ['another kind of engine', { kind: 'tfjs' }, /saved by the engine tfjs, and this is native/],
    ['another model', { identity: new Uint8Array(32) }, /another model/],
    ['another block', { block: 3 }, /do not fit/],
    ['another count of values', { values: 4 }, /do not fit/],
  ])('of %s is refused', (_, other, reason) => {
    const from = { ...owner, ...other }
    const fitting = {
      ...state,
      clamped: new Int32Array(from.block),
      values: new Float32Array(from.values),
    }
    expect(() => decodeState(owner, encodeState(from, fitting))).toThrow(refused(reason))
  })

  it.each([
    ['a token past the vocabulary', { clamped: Int32Array.of(-1, 11) }, /clamped token is 11/],
    ['a token below -1', { clamped: Int32Array.of(-2, 1) }, /clamped token is -2/],
    ['a best energy that is no number', { bestEnergy: NaN }, /best energy/],
    ['a negative context length', { contextLength: -1 }, /context length is -1/],
    ['half a candidate', { candidate: 0.5 }, /candidate is 0.5/],
    ['a seed out of range', { seed: 2 ** 60 }, /seed/],
    ['an engine number out of range', { engineNumber: 256 }, /engine number is 256/],
  ])('with %s is refused though its checksum matches', (_, change, reason) => {
    const bytes = encodeState(owner, { ...state, ...change })
    expect(() => decodeState(owner, bytes)).toThrow(refused(reason))
  })
})

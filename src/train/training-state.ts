/**
 * What a training run needs to resume as if it had not stopped: weights, moments, the objective's
 * memory, and the settings it was started with, in one safetensors file. A new state is written beside
 * the old one, read back and compared, and then takes its place, so that there is always a good one.
 */
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import {
  asFloat32,
  readSafetensors,
  writeSafetensors,
  type Float32Tensor,
} from '../model/safetensors.js'

export const trainingStateFile = 'state.safetensors'

/** The settings that a run's numbers depend on, by the names of their flags. */
export type TrainingSettings = Readonly<Record<string, string | number | boolean>>

export interface TrainingState {
  update: number
  /** Seconds of training, on the clock and of all threads, those before a resume included. */
  seconds: number
  cpuSeconds: number
  /** Spread of energies at update 0, which later ones are compared with; NaN if it was not measured. */
  firstSpread: number
  settings: TrainingSettings
  /** Weights under their names, moments as `first/...` and `second/...`, memory as `memory/...`. */
  tensors: ReadonlyMap<string, Float32Tensor>
}

/** Throws `invalid_checkpoint` if the file does not read back as it was written. */
export function writeState(directory: string, state: TrainingState): void {
  const fresh = join(directory, `${trainingStateFile}.new`)
  writeSafetensors(fresh, state.tensors, {
    metadata: {
      update: String(state.update),
      seconds: String(state.seconds),
      cpu_seconds: String(state.cpuSeconds),
      first_spread: String(state.firstSpread),
      settings: JSON.stringify(state.settings),
    },
  })
  verifyTensors(fresh, state.tensors)
  renameSync(fresh, join(directory, trainingStateFile))
}

/** Throws `invalid_checkpoint` if the file does not hold exactly these tensors. */
export function verifyTensors(path: string, wanted: ReadonlyMap<string, Float32Tensor>): void {
  const { tensors } = readSafetensors(path)
  for (const [name, { data }] of wanted) {
    const stored = tensors.get(name)
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    if (!stored || bytes.compare(stored.bytes) !== 0)
      throw new BasinError('invalid_checkpoint', {
        path,
        reason: `${name} does not read back as it was written`,
      })
  }
}

/** The saved state, undefined if there is none. Throws `invalid_checkpoint` if it is not readable. */
export function readState(directory: string): TrainingState | undefined {
  const path = join(directory, trainingStateFile)
  if (!existsSync(path)) return undefined
  const { tensors, metadata } = readSafetensors(path)
  const numberOf = (field: string, missing: number): number => {
    const value = Number(metadata[field] ?? missing)
    if (field === 'update' && !Number.isSafeInteger(value))
      throw new BasinError('invalid_checkpoint', { path, reason: `${field} is no integer` })
    return value
  }
  return {
    update: numberOf('update', NaN),
    seconds: numberOf('seconds', 0),
    cpuSeconds: numberOf('cpu_seconds', 0),
    firstSpread: numberOf('first_spread', NaN),
    settings: JSON.parse(metadata['settings'] ?? '{}') as TrainingSettings,
    tensors: new Map(
      [...tensors].map(([name, t]) => [name, { shape: t.shape, data: asFloat32(t, name, path) }]),
    ),
  }
}

/** Throws `invalid_checkpoint` for the first setting that differs from the one the run started with. */
export function checkSettings(
  path: string,
  started: TrainingSettings,
  now: TrainingSettings,
): void {
  for (const [name, value] of Object.entries(now)) {
    const before = started[name]
    if (before !== undefined && before !== value)
      throw new BasinError('invalid_checkpoint', {
        path,
        reason: `the run was started with ${name} ${String(before)}, not ${String(value)}; give the same, or another --out`,
      })
  }
}

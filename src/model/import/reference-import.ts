/**
 * Opens published EBT checkpoints: those of Lightning (zip and pickle), bare state dicts of torch.save, and
 * bare safetensors. Tensors stay in the file until they are read.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { tensorShapes } from '../checkpoint.js'
import type { ModelConfig } from '../config.js'
import { asFloat32, readSafetensors, type Float32Tensor } from '../safetensors.js'
import { configurationOf, ownFields, reasonAgainst, type Identity } from './reference-config.js'
import { quote, refuse } from './refusal.js'
import { Settings, type Hyperparameters } from './hyperparameters.js'
import { TorchFile, type ForeignTensor } from './torch-file.js'
import { Dict, TensorRef, type Value } from './pickle-values.js'

export interface ImportOptions {
  /** Settings that replace or supplement those of the file. */
  hyperparameters?: Hyperparameters
  /** Fields that are used unless the file has them, which only an export of Basin's does. */
  identity: Identity
  /** Fields that replace those of the file. */
  chosen?: Partial<Identity>
}

export interface Imported {
  config: ModelConfig
  /** In the order of checkpoint.ts. Each `data` is read from the file at every access. */
  tensors: ReadonlyMap<string, Float32Tensor>
  hyperparameters: Hyperparameters
  close(): void
}

/** Tensors that no model needs but that are kept, so that an export equals what was imported. */
export const carriedTensors = ['langevin_dynamics_noise_std'] as const

/** Prefixes that the reference's trainer, torch.compile and parallel training put before tensor names. */
const prefixes = ['model._orig_mod.', 'model.', '_orig_mod.', 'module.', '']

const MAX_SETTINGS = 4096
const MAX_SETTING_TEXT = 4096

interface Source {
  tensors: ReadonlyMap<string, ForeignTensor>
  hyperparameters: Hyperparameters
  identity: Partial<Identity>
  bytes: number
  close(): void
}

/** Throws `invalid_checkpoint` with what is wrong or not supported. The caller must close the result. */
export function openReference(path: string, options: ImportOptions): Imported {
  const source = openSource(path)
  try {
    const stored = withoutPrefix(source.tensors, path)
    const hyperparameters = { ...source.hyperparameters, ...options.hyperparameters }
    const config = configurationOf(
      new Settings(hyperparameters, path),
      new Map([...stored].map(([name, { shape }]) => [name, shape])),
      { ...options.identity, ...source.identity, ...options.chosen },
    )
    const tensors = pick(stored, config, source.bytes, path)
    return { config, tensors, hyperparameters, close: () => source.close() }
  } catch (error) {
    source.close()
    throw error
  }
}

function openSource(path: string): Source {
  const start = firstBytes(path)
  if (start[0] === 0x50 && start[1] === 0x4b) return torchSource(path)
  if (start[8] === 0x7b) return safetensorsSource(path)
  const pickle = start[0] === 0x80
  return refuse(
    path,
    pickle
      ? 'is a bare pickle (torch before 1.6), which is not read; save it again with a newer torch'
      : 'is neither a checkpoint of torch (a zip archive) nor safetensors',
  )
}

function firstBytes(path: string): Uint8Array {
  const start = new Uint8Array(9)
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    return refuse(path, (cause as Error).message, cause)
  }
  try {
    readSync(fd, start, 0, start.length, 0)
  } catch (cause) {
    refuse(path, (cause as Error).message, cause)
  } finally {
    closeSync(fd)
  }
  return start
}

function safetensorsSource(path: string): Source {
  const { tensors } = readSafetensors(path)
  const foreign = [...tensors].map(([name, stored]): [string, ForeignTensor] => [
    name,
    {
      shape: stored.shape,
      bytes: stored.bytes.length,
      read: () => asFloat32(stored, name, path),
    },
  ])
  const bytes = foreign.reduce((sum, [, tensor]) => sum + tensor.bytes, 0)
  const close = () => undefined
  return { tensors: new Map(foreign), hyperparameters: {}, identity: {}, bytes, close }
}

function torchSource(path: string): Source {
  const file = TorchFile.open(path)
  try {
    const { root } = file
    if (!(root instanceof Dict)) refuse(path, 'holds no dict, so no state dict')
    const nested = root.get('state_dict')
    const state = nested instanceof Dict ? nested : root
    const tensors = new Map<string, ForeignTensor>()
    for (const [name, value] of state.entries)
      if (typeof name === 'string' && value instanceof TensorRef)
        tensors.set(name, file.tensor(name, value))
    const settings = root.get('hyper_parameters')
    return {
      tensors,
      hyperparameters: plainSettings(settings),
      identity: identityIn(settings),
      bytes: file.bytes,
      close: () => file.close(),
    }
  } catch (error) {
    file.close()
    throw error
  }
}

const isPlain = (value: Value): value is number | string | boolean | null =>
  value === null ||
  typeof value === 'number' ||
  typeof value === 'boolean' ||
  (typeof value === 'string' && value.length <= MAX_SETTING_TEXT)

function plainSettings(settings: Value | undefined): Hyperparameters {
  if (!(settings instanceof Dict)) return {}
  const plain: [string, number | string | boolean | null][] = []
  for (const [name, value] of settings.entries) {
    if (typeof name === 'string' && isPlain(value)) plain.push([name, value])
    if (plain.length === MAX_SETTINGS) break
  }
  return Object.fromEntries(plain)
}

/** The fields of config.json that an export writes under `basin`. */
function identityIn(settings: Value | undefined): Partial<Identity> {
  const own = settings instanceof Dict ? settings.get('basin') : undefined
  if (!(own instanceof Dict)) return {}
  const template = own.get('template')
  const fields: Readonly<Record<string, unknown>> = {
    ...plainSettings(own),
    ...(template && { template: plainSettings(template) }),
  }
  const known = ownFields.filter((name) => fields[name] !== undefined)
  // parseConfig checks their types and bounds.
  return Object.fromEntries(known.map((name) => [name, fields[name]]))
}

function withoutPrefix(
  tensors: ReadonlyMap<string, ForeignTensor>,
  path: string,
): Map<string, ForeignTensor> {
  const prefix = prefixes.find((each) => tensors.has(`${each}embeddings.weight`))
  if (prefix === undefined)
    refuse(path, 'has no embeddings.weight: it is no language model of the reference')
  return new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  )
}

/** The tensors that a configuration needs. Any other tensor means that the network is another one, so it is refused. */
function pick(
  stored: ReadonlyMap<string, ForeignTensor>,
  config: ModelConfig,
  fileBytes: number,
  path: string,
): Map<string, Float32Tensor> {
  const picked = new Map<string, Float32Tensor>()
  let bytes = 0
  const take = (name: string, tensor: ForeignTensor, shape: readonly number[]) => {
    if (tensor.shape.join() !== shape.join())
      refuse(path, `${name} has shape [${tensor.shape.join()}], [${shape.join()}] is needed`)
    bytes += tensor.bytes
    // Without this limit, many views of one storage could make the output arbitrarily large.
    if (bytes > fileBytes) refuse(path, `its tensors share storages: ${name} is one too many`)
    picked.set(name, lazy(name, tensor, path))
  }
  const shapes = tensorShapes(config)
  for (const [name, shape] of shapes) {
    const tensor = stored.get(name)
    if (!tensor) refuse(path, `${name} is missing`)
    take(name, tensor, shape)
  }
  for (const name of carriedTensors) {
    const tensor = stored.get(name)
    if (tensor) take(name, tensor, [])
    // An export writes zero where the model has none.
    if (picked.get(name)?.data[0] === 0) picked.delete(name)
  }
  const known = new Set<string>([...shapes.keys(), ...carriedTensors])
  const unknown = [...stored.keys()].find((name) => !known.has(name))
  if (unknown !== undefined) refuse(path, reasonAgainst(unknown))
  return picked
}

const lazy = (name: string, tensor: ForeignTensor, path: string): Float32Tensor => ({
  shape: tensor.shape,
  get data() {
    const data = tensor.read()
    const bad = firstNotFinite(data)
    if (bad >= 0) refuse(path, `${quote(name)}[${bad}] is not finite`)
    return data
  },
})

/** The index of the first number that is not finite, or -1. A loop is faster than `findIndex` on 10^8 numbers. */
function firstNotFinite(data: Float32Array): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i
  return -1
}

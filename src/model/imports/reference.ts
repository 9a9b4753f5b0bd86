/**
 * Published EBT checkpoints: Lightning's (zip and pickle), bare state dicts of torch.save, bare
 * safetensors. Tensors stay in the file until they are asked for.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { tensorShapes } from '../checkpoint.js'
import type { ModelConfig } from '../config.js'
import { asFloat32, readSafetensors, type Float32Tensor } from '../safetensors.js'
import { configurationOf, ownFields, reasonAgainst, type Identity } from './configuration.js'
import { quote, refuse } from './refusal.js'
import { Settings, type Hyperparameters } from './settings.js'
import { TorchFile, type ForeignTensor } from './torch.js'
import { Dict, TensorRef, type Value } from './values.js'

export interface ImportOptions {
  /** Settings that the file lacks or that replace its own. */
  hyperparameters?: Hyperparameters
  /** Used where the file does not say it; only an export of Basin's own does. */
  identity: Identity
  /** Used whatever the file says. */
  chosen?: Partial<Identity>
}

export interface Imported {
  config: ModelConfig
  /** In the order of checkpoint.ts; each `data` is read from the file when asked for. */
  tensors: ReadonlyMap<string, Float32Tensor>
  hyperparameters: Hyperparameters
  close(): void
}

/** Kept beside what a model needs, so that an export is what was imported. */
export const carriedTensors = ['langevin_dynamics_noise_std'] as const

/** What the reference's trainer, torch.compile and parallel training put before a name. */
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

/** Throws `invalid_checkpoint` with what is wrong or not supported. The caller closes it. */
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

/** What an export writes under `basin`: the fields of config.json that the reference has no name for. */
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

/** The tensors that a configuration needs, of the right shapes; every other one speaks against it. */
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
    // Otherwise views of one storage could ask for any amount of output.
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
    // Zero is what an export writes where there is none.
    if (picked.get(name)?.data[0] === 0) picked.delete(name)
  }
  const known = new Set<string>([...shapes.keys(), ...carriedTensors])
  const stranger = [...stored.keys()].find((name) => !known.has(name))
  if (stranger !== undefined) refuse(path, reasonAgainst(stranger))
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

/** Its index, or -1. A loop: `findIndex` calls a function for every one of 10^8 numbers. */
function firstNotFinite(data: Float32Array): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i
  return -1
}

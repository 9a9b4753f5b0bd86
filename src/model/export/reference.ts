/**
 * A model as a Lightning checkpoint of the published implementation: its state dict, and the
 * hyper_parameters that make its classes build the same network. What they cannot express is
 * refused by name. Converting the result gives the model back.
 */
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../../errors.js'
import { openCheckpoint, weightsFile } from '../checkpoint.js'
import type { ModelConfig } from '../config.js'
import { asFloat32, readSafetensors, type Float32Tensor } from '../safetensors.js'
import { ownFields } from '../imports/configuration.js'
import { carriedTensors } from '../imports/reference.js'
import { TensorEntry, writePickle, type Picklable } from './pickle.js'
import { referenceSettings } from './settings.js'
import { ZipWriter } from './zip.js'

/** Lightning's name for what it wraps. */
const PREFIX = 'model.'
const ROOT = 'archive'

export interface ExportOptions {
  /** What the reference calls its tokenizer: a name on the Hugging Face hub. */
  tokenizer: string
}

/** Writes `path` whole or not at all. Throws `invalid_checkpoint` naming what cannot be expressed. */
export function exportReference(directory: string, path: string, options: ExportOptions): void {
  const { config, tensors } = openCheckpoint(directory)
  const all = new Map([...tensors, ...carried(directory)])
  const names = [...all.keys()]
  const keys = new Map(names.map((name, place) => [name, String(place)]))
  const settings = referenceSettings(config, all, options.tokenizer, directory)
  const temporary = `${path}.tmp`
  const zip = new ZipWriter(temporary)
  try {
    zip.add(`${ROOT}/data.pkl`, writePickle(checkpoint(config, settings, all, keys)))
    zip.add(`${ROOT}/byteorder`, Buffer.from('little'))
    for (const [name, { data }] of all)
      zip.add(
        `${ROOT}/data/${keys.get(name) as string}`,
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      )
    zip.add(`${ROOT}/version`, Buffer.from('3\n'))
    zip.finish()
    zip.flush()
    renameSync(temporary, path)
  } finally {
    zip.close()
    rmSync(temporary, { force: true })
  }
}

function checkpoint(
  config: ModelConfig,
  settings: Readonly<Record<string, Picklable>>,
  tensors: ReadonlyMap<string, Float32Tensor>,
  keys: ReadonlyMap<string, string>,
): Picklable {
  const state = [...tensors].map(([tensor, { shape }]) => [
    `${PREFIX}${tensor}`,
    new TensorEntry(keys.get(tensor) as string, shape),
  ])
  const own = Object.fromEntries(
    ownFields.flatMap((name) => (config[name] === undefined ? [] : [[name, config[name]]])),
  ) as Record<string, Picklable>
  return {
    state_dict: Object.fromEntries(state) as Record<string, Picklable>,
    // What convert reads back where the reference has no name for it.
    hyper_parameters: { ...settings, basin: own },
    'pytorch-lightning_version': '2.5.0',
    epoch: 0,
    global_step: 0,
  }
}

/** Tensors that the reference has and Basin only keeps; its strict loading wants them all. */
function carried(directory: string): Map<string, Float32Tensor> {
  const path = join(directory, weightsFile)
  const stored = readSafetensors(path).tensors
  return new Map(
    carriedTensors.map((name): [string, Float32Tensor] => {
      const tensor = stored.get(name)
      if (tensor && tensor.shape.length > 0)
        throw new BasinError('invalid_checkpoint', { path, reason: `${name} must be a scalar` })
      const data = tensor ? asFloat32(tensor, name, path) : new Float32Array(1)
      return [name, { shape: [], data }]
    }),
  )
}

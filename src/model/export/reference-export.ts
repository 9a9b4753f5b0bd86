/**
 * Exports a model as a Lightning checkpoint of the published implementation: the state dict, and the
 * hyper_parameters with which its classes build the same network. What they cannot express is refused
 * with its name. Importing the result gives the same model.
 */
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../../errors.js'
import { openCheckpoint, weightsFile } from '../checkpoint.js'
import type { ModelConfig } from '../config.js'
import { asFloat32, readSafetensors, type Float32Tensor } from '../safetensors.js'
import { ownFields } from '../import/reference-config.js'
import { carriedTensors } from '../import/reference-import.js'
import { TensorEntry, writePickle, type Picklable } from './pickle-writer.js'
import { referenceSettings } from './reference-settings.js'
import { ZipWriter } from './zip-writer.js'

/** Lightning puts this before the names of the wrapped module's tensors. */
const PREFIX = 'model.'
const ROOT = 'archive'

export interface ExportOptions {
  /** The name of the tokenizer on the Hugging Face hub, which the reference loads. */
  tokenizer: string
}

/** Writes all of `path` or nothing. Throws `invalid_checkpoint` naming what cannot be expressed. */
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
    // Fields for which the reference has no name; the import reads them.
    hyper_parameters: { ...settings, basin: own },
    'pytorch-lightning_version': '2.5.0',
    epoch: 0,
    global_step: 0,
  }
}

/** Tensors that Basin does not use but the reference's strict loading requires. */
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

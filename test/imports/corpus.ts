/** The files of corpus/, and what an import of any of them must be. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openReference, type Imported } from '../../src/model/import/reference-import.js'
import type { Hyperparameters } from '../../src/model/import/hyperparameters.js'

const directory = new URL('corpus/', import.meta.url).pathname

export const corpusFile = (name: string): string => join(directory, name)
export const corpusBytes = (name: string): Buffer => readFileSync(corpusFile(name))

export const settings = JSON.parse(
  readFileSync(corpusFile('hparams.json'), 'utf8'),
) as Hyperparameters

export const identity = { name: 'tiny', description: 'corpus', created: 0 }

/** Every tensor is read; the file is closed. */
export function importAll(path: string, hyperparameters?: Hyperparameters) {
  const imported: Imported = openReference(path, {
    identity,
    ...(hyperparameters && { hyperparameters }),
  })
  try {
    const tensors = new Map([...imported.tensors].map(([name, { data }]) => [name, data]))
    return { config: imported.config, tensors }
  } finally {
    imported.close()
  }
}

const scratch = mkdtempSync(join(tmpdir(), 'basin-corpus-'))

/** The bytes as a file. One path: a test that writes another file has to be done with this one. */
export function asFile(bytes: Uint8Array): string {
  const path = join(scratch, 'file')
  writeFileSync(path, bytes)
  return path
}

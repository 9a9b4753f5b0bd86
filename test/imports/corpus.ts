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

/** Reads every tensor and closes the file. */
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

/** Writes the bytes to a file. The path is always the same, so a test must be done with one file before it writes the next. */
export function asFile(bytes: Uint8Array): string {
  const path = join(scratch, 'file')
  writeFileSync(path, bytes)
  return path
}

/** The key by which states of responses are signed: of a file, of the folder of stored responses, or of this process. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'

const KEY_BYTES = 32
const KEY_FILE = 'state.key'

/**
 * `file`: of `--state-key`; `folder`: of `--data-dir`, where a key is made once. Undefined: without either, a key
 * ends with its process. Throws `invalid_data`.
 */
export function openStateKey(
  file: string | undefined,
  folder: string | undefined,
): Uint8Array | undefined {
  if (file !== undefined) return readKey(file)
  if (folder === undefined) return undefined
  const kept = join(folder, KEY_FILE)
  if (!existsSync(kept)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(kept, randomBytes(KEY_BYTES), { mode: 0o600, flag: 'wx' })
  }
  return readKey(kept)
}

function readKey(path: string): Uint8Array {
  let key: Buffer
  try {
    key = readFileSync(path)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be read'
    throw new BasinError('invalid_data', { path, reason }, { cause })
  }
  if (key.length >= KEY_BYTES) return key
  const reason = `it has ${key.length} bytes; a key of states has at least ${KEY_BYTES} random ones (head -c 32 /dev/urandom)`
  throw new BasinError('invalid_data', { path, reason })
}

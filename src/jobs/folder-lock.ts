/**
 * An exclusive lock on a folder: one process at a time writes there. The operating system holds the lock
 * for an open file and lets go of it when the process ends, however it ends.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { tryLock, unlock } from 'fs-native-extensions'
import { BasinError } from '../errors.js'

const LOCK_FILE = 'basin.lock'

/** Creates the folder if there is none. Throws `in_use` where another process holds the lock. */
export function lockFolder(folder: string): () => void {
  // The folder holds prompts and answers: other users of the machine must not read them.
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const descriptor = openSync(join(folder, LOCK_FILE), 'a', 0o600)
  if (!tryLock(descriptor)) {
    closeSync(descriptor)
    throw new BasinError('in_use', { path: folder })
  }
  return () => {
    unlock(descriptor)
    closeSync(descriptor)
  }
}

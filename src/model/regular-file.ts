/**
 * Opens files of a model's directory, which is untrusted: what is not a regular file (a pipe or a device) could
 * keep its reader waiting for ever, or never end.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { BasinError } from '../errors.js'

/** Calls `read` with the open file and its size. Throws `invalid_checkpoint`, also for what is no file. */
export function withRegularFile<T>(path: string, read: (fd: number, bytes: number) => T): T {
  let fd: number
  try {
    // Without this flag opening a pipe waits for its writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be opened'
    throw new BasinError('invalid_checkpoint', { path, reason }, { cause })
  }
  try {
    const stat = fstatSync(fd)
    if (stat.isFile()) return read(fd, stat.size)
    throw new BasinError('invalid_checkpoint', { path, reason: 'it is not a regular file' })
  } finally {
    closeSync(fd)
  }
}

/** The text of a file of at most `limit` bytes. Throws `invalid_checkpoint`. */
export const readText = (path: string, limit: number): string =>
  withRegularFile(path, (fd, bytes) => {
    if (bytes <= limit) return readFileSync(fd, 'utf8')
    throw new BasinError('invalid_checkpoint', { path, reason: `it exceeds ${limit} bytes` })
  })

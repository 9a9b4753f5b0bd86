/**
 * Downloads a file and checks it. What has come stays in NAME.part until it is whole, so that the next attempt,
 * in this process or a later one, asks for the rest only.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { BasinError } from '../../errors.js'
import {
  type Checksum,
  type Headers,
  type HubFile,
  refusedBy,
  unreachable,
} from './hub-repository.js'

export interface DownloadOptions {
  headers: Headers
  /** Bytes that are there now. */
  onProgress: (bytes: number) => void
  /** Attempts in a row that bring nothing. */
  attempts?: number
  /** Before the second attempt; it doubles with each. */
  pauseMs?: number
  /** A connection that brings nothing for so long is given up. */
  stallMs?: number
}

const sizeOf = (path: string): number => (existsSync(path) ? statSync(path).size : 0)

/**
 * To `path`, which is whole or absent. Throws `invalid_data` where the file cannot be had, or is not what its
 * checksum says; then what came is removed.
 */
export async function download(
  file: HubFile,
  path: string,
  options: DownloadOptions,
): Promise<void> {
  const { attempts = 5, pauseMs = 500 } = options
  const part = `${path}.part`
  for (let failures = 0; ;) {
    const before = sizeOf(part)
    const broken = await fetchRest(file, part, options)
    if (broken === undefined) break
    failures = sizeOf(part) > before ? 0 : failures + 1
    if (failures >= attempts) throw unreachable(file.url, broken)
    await sleep(pauseMs * 2 ** failures)
  }
  const found = await checksumOf(part, file.checksum)
  const wanted = 'sha256' in file.checksum ? file.checksum.sha256 : file.checksum.gitBlob
  if (found !== wanted) {
    rmSync(part)
    const reason = `its checksum is ${found} and should be ${wanted}; what came was removed`
    throw new BasinError('invalid_data', { path: file.url, reason })
  }
  renameSync(part, path)
}

/** Undefined where the file has come to its end; else why the connection ended before. */
async function fetchRest(file: HubFile, part: string, options: DownloadOptions): Promise<unknown> {
  const { size, url } = file
  const from = sizeOf(part)
  if (size !== undefined && from >= size) {
    if (from === size) return undefined
    rmSync(part)
    return fetchRest(file, part, options)
  }
  const stall = new AbortController()
  const { stallMs = 60_000 } = options
  const timer = setTimeout(() => {
    stall.abort(new Error(`nothing came for ${stallMs / 1000} s`))
  }, stallMs)
  let handle: FileHandle | undefined
  try {
    const range = from > 0 ? { range: `bytes=${from}-` } : {}
    const headers = { ...options.headers, 'accept-encoding': 'identity', ...range }
    const reply = await fetch(url, { headers, signal: stall.signal })
    // The file has no bytes beyond those that are there.
    if (reply.status === 416 && size === undefined) return undefined
    if (reply.status >= 500) return new Error(`the server replied ${reply.status}`)
    if (!reply.ok || !reply.body) throw refusedBy(url, reply.status)
    const goesOn =
      reply.status === 206 && reply.headers.get('content-range')?.startsWith(`bytes ${from}-`)
    handle = await open(part, goesOn ? 'a' : 'w')
    let bytes = goesOn ? from : 0
    for await (const chunk of reply.body as ReadableStream<Uint8Array>) {
      timer.refresh()
      bytes += chunk.length
      if (size !== undefined && bytes > size)
        throw new BasinError('invalid_data', {
          path: url,
          reason: `it is longer than ${size} bytes`,
        })
      await handle.write(chunk)
      options.onProgress(bytes)
    }
    await handle.sync()
    return size === undefined || bytes === size ? undefined : new Error('the connection broke')
  } catch (error) {
    if (error instanceof BasinError || isDiskError(error)) throw error
    return error
  } finally {
    clearTimeout(timer)
    await handle?.close()
  }
}

/** Of the system's calls on files; those of connections have a cause of their own. */
const isDiskError = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EFBIG', 'EACCES', 'EROFS'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  )

async function checksumOf(path: string, checksum: Checksum): Promise<string> {
  const hash: Hash = 'sha256' in checksum ? createHash('sha256') : createHash('sha1')
  if (!('sha256' in checksum)) hash.update(`blob ${sizeOf(path)}\0`)
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

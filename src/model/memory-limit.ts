/**
 * How much memory a model may ask for. A checkpoint is untrusted: a file of a few kilobytes can describe
 * contexts and answers that no machine holds, and taking them would end the process instead of the model.
 */
import { totalmem } from 'node:os'
import { BasinError } from '../errors.js'
import { contextCaches, type ModelConfig, stateWidth } from './config.js'

const BYTES_PER_NUMBER = 4
const GIBIBYTE = 2 ** 30

/** Bytes of this machine, or of the container that limits this process. */
export const memoryLimit = (): number =>
  Math.min(totalmem(), process.constrainedMemory() || Infinity)

export interface MemoryUse {
  slots: number
  pages: number
  /** Positions of a page. */
  pageSize: number
  /** Bytes of a number of the context cache. */
  cachedBytes: number
}

/** Bytes of the contexts and answers of a model, at least. */
export function workingBytes(config: ModelConfig, use: MemoryUse): number {
  const { answer, dim, layers } = config
  const { cachedBytes, pageSize, pages, slots } = use
  const keysAndValues = 2 * contextCaches(config) * layers * dim * pages * pageSize
  const statesAndBest = 2 * slots * answer.block * stateWidth(config)
  return cachedBytes * keysAndValues + BYTES_PER_NUMBER * statesAndBest
}

/** Throws `invalid_checkpoint` where `bytes` for `what` are more than there are. */
export function refuseBeyondMemory(
  path: string,
  what: string,
  bytes: number,
  limit = memoryLimit(),
): void {
  if (bytes <= limit) return
  const [needed, there] = [bytes, limit].map((each) => (each / GIBIBYTE).toFixed(1))
  const reason = `${what} need ${needed} GiB of memory, and there are ${there} GiB`
  throw new BasinError('invalid_checkpoint', { path, reason })
}

/** What tells a model and its weights from all others, so that a saved answer is continued by the same ones. */
import { createHash } from 'node:crypto'
import type { Checkpoint } from '../model/checkpoint.js'

/** JSON whose keys are sorted, so that equal configurations give equal text. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )

/**
 * SHA-256 of what decides the numbers of a descent: the configuration without name, description and date, the
 * types that weights and the context cache are held in, and the weights.
 */
export function modelIdentity({ config, tensors }: Checkpoint, numbers: string): Uint8Array {
  const decisive = { ...config, name: '', description: '', created: 0 }
  const hash = createHash('sha256').update(canonical([decisive, numbers]))
  for (const [name, { shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(canonical([name, shape]))
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  return hash.digest()
}

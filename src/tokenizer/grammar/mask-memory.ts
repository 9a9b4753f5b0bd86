/**
 * Where one thread reads the masks that another one finds: shared memory that holds the latest mask of a text,
 * and how many changes of the text it accounts for. The reader waits for it without an event loop.
 */

/** Words before the mask: the number of changes that are in it, and whether it could be found. */
const CHANGES = 0
const FAILED = 1
const HEADER = 2

export type MaskMemory = Int32Array<SharedArrayBuffer>

/** `tokens`: bits of a mask. No mask is in it yet. */
export const createMaskMemory = (tokens: number): MaskMemory => {
  const words = HEADER + Math.ceil(tokens / 32)
  const memory = new Int32Array(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT))
  memory[CHANGES] = -1
  return memory
}

/** `mask`: undefined where it could not be found. `changes`: those that it accounts for. */
export function writeMask(memory: MaskMemory, mask: Int32Array | undefined, changes: number): void {
  if (mask) memory.set(mask.subarray(0, memory.length - HEADER), HEADER)
  else memory[FAILED] = 1
  Atomics.store(memory, CHANGES, changes)
  Atomics.notify(memory, CHANGES)
}

/**
 * The mask after so many changes. Undefined where it could not be found, or is not there after `seconds`. It
 * changes with the text.
 */
export function readMask(
  memory: MaskMemory,
  changes: number,
  seconds: number,
): Int32Array | undefined {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const present = Atomics.load(memory, CHANGES)
    if (present === changes) return memory[FAILED] === 0 ? memory.subarray(HEADER) : undefined
    const left = deadline - performance.now()
    if (left <= 0 || Atomics.wait(memory, CHANGES, present, left) === 'timed-out') return undefined
  }
}

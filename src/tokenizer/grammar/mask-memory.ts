/**
 * What the thread that follows a text and the one that finds its masks share: the changes of the text (tokens that
 * became part of it, and how many were taken back), the latest mask, and how many changes it accounts for. The
 * writer of changes waits for masks without an event loop, and no call of the system tells the other of a change
 * unless it sleeps (`Wakeup`).
 */

/** Words before the mask: changes that are in it, changes of the text, and whether the mask could be found. */
const APPLIED = 0
const CHANGES = 1
const FAILED = 2
/** Then the latest changes: a token, or minus the number of tokens that were taken back. */
const FIRST = 3
const KEPT = 1024
const HEADER = FIRST + KEPT

export type MaskMemory = Int32Array<SharedArrayBuffer>

/** `tokens`: bits of a mask. No mask is in it yet. */
export const createMaskMemory = (tokens: number): MaskMemory => {
  const words = HEADER + Math.ceil(tokens / 32)
  const memory = new Int32Array(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT))
  memory[APPLIED] = -1
  return memory
}

/** Waits for room where the other thread is so many changes behind; false where there is none after `seconds`. */
export function writeChange(memory: MaskMemory, change: number, seconds: number): boolean {
  const number = Atomics.load(memory, CHANGES)
  const hasRoom = (applied: number) => number - applied < KEPT
  if (!awaitApplied(memory, hasRoom, seconds)) return false
  memory[FIRST + (number % KEPT)] = change
  Atomics.store(memory, CHANGES, number + 1)
  return true
}

/** The changes from number `from` on. */
export function readChanges(memory: MaskMemory, from: number): number[] {
  const end = Atomics.load(memory, CHANGES)
  return Array.from({ length: end - from }, (_, i) => memory[FIRST + ((from + i) % KEPT)] as number)
}

/** `mask`: undefined where it could not be found. `applied`: changes that it accounts for. */
export function writeMask(memory: MaskMemory, mask: Int32Array | undefined, applied: number): void {
  if (mask) memory.set(mask.subarray(0, memory.length - HEADER), HEADER)
  else memory[FAILED] = 1
  Atomics.store(memory, APPLIED, applied)
  Atomics.notify(memory, APPLIED)
}

/**
 * The mask after all changes. Undefined where it could not be found, or is not there after `seconds`. It changes
 * with the text.
 */
export function readMask(memory: MaskMemory, seconds: number): Int32Array | undefined {
  const changes = Atomics.load(memory, CHANGES)
  const isThere = awaitApplied(memory, (applied) => applied === changes, seconds)
  return isThere && memory[FAILED] === 0 ? memory.subarray(HEADER) : undefined
}

function awaitApplied(
  memory: MaskMemory,
  suffices: (applied: number) => boolean,
  seconds: number,
): boolean {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const applied = Atomics.load(memory, APPLIED)
    if (suffices(applied)) return true
    const left = deadline - performance.now()
    if (left <= 0) return false
    Atomics.wait(memory, APPLIED, applied, left)
  }
}

/** Words of a wakeup call: how often it was woken, and whether the other thread sleeps. */
const WOKEN = 0
const ASLEEP = 1

/** Wakes the thread that finds masks. */
export type Wakeup = Int32Array<SharedArrayBuffer>

export const createWakeup = (): Wakeup => new Int32Array(new SharedArrayBuffer(8))

export function wake(wakeup: Wakeup): void {
  Atomics.add(wakeup, WOKEN, 1)
  Atomics.notify(wakeup, WOKEN)
}

/** To be called after a change: it costs next to nothing where the other thread is awake. */
export function wakeIfAsleep(wakeup: Wakeup): void {
  if (Atomics.load(wakeup, ASLEEP) === 1) wake(wakeup)
}

/** How often it was woken. To be asked before one looks for work. */
export const timesWoken = (wakeup: Wakeup): number => Atomics.load(wakeup, WOKEN)

/** Until it is woken again after `woken` times, or for so long. */
export function doze(wakeup: Wakeup, woken: number, milliseconds: number): void {
  Atomics.wait(wakeup, WOKEN, woken, milliseconds)
}

/** Until it is woken again after `woken` times, unless there is work by now. */
export function sleep(wakeup: Wakeup, woken: number, hasWork: () => boolean): void {
  Atomics.store(wakeup, ASLEEP, 1)
  if (!hasWork()) Atomics.wait(wakeup, WOKEN, woken)
  Atomics.store(wakeup, ASLEEP, 0)
}

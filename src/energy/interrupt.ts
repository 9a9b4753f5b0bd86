/**
 * Tells a thread in a long call that a message waits for it, so that the call can be long where nobody
 * wants anything and short where somebody does. Two counts in memory that both threads see.
 */
const SENT = 0
const RECEIVED = 1

/** [2] messages sent and received, in shared memory. */
export type Interrupt = Int32Array<SharedArrayBuffer>

export const createInterrupt = (): Interrupt => new Int32Array(new SharedArrayBuffer(8))

/** Before a message is sent. */
export const raise = (bell: Interrupt): void => {
  Atomics.add(bell, SENT, 1)
}

/** When a message has arrived. */
export const clear = (bell: Interrupt): void => {
  Atomics.add(bell, RECEIVED, 1)
}

export const isRaised = (bell: Interrupt): boolean =>
  Atomics.load(bell, SENT) !== Atomics.load(bell, RECEIVED)

/**
 * Tells a thread in a long call that a message waits for it, so that the call may be long while no
 * message comes and ends early when one does. It is two counts in memory that both threads share.
 */
const SENT = 0
const RECEIVED = 1

/** [2] messages sent and received, in shared memory. */
export type Interrupt = Int32Array<SharedArrayBuffer>

export const createInterrupt = (): Interrupt => new Int32Array(new SharedArrayBuffer(8))

/** Called by the sender before it sends a message. */
export const raise = (interrupt: Interrupt): void => {
  Atomics.add(interrupt, SENT, 1)
}

/** Called by the receiver when a message has arrived. */
export const clear = (interrupt: Interrupt): void => {
  Atomics.add(interrupt, RECEIVED, 1)
}

export const isRaised = (interrupt: Interrupt): boolean =>
  Atomics.load(interrupt, SENT) !== Atomics.load(interrupt, RECEIVED)

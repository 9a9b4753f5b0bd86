/**
 * Whether the latest report was dealt with: a word of memory that both threads see, so that neither wakes
 * the other to say so. Only where the one that reports can do nothing else before it knows, the other
 * sends it a message.
 */
const HEARD = 0
const UNHEARD = 1
const AWAITED = 2

/** [1] in shared memory. */
export type Receipt = Int32Array<SharedArrayBuffer>

export const createReceipt = (): Receipt => new Int32Array(new SharedArrayBuffer(4))

/** Before a report is sent. */
export const markUnheard = (receipt: Receipt): void => {
  Atomics.store(receipt, 0, UNHEARD)
}

export const isHeard = (receipt: Receipt): boolean => Atomics.load(receipt, 0) === HEARD

/** Asks for a message. False: there is no need, it was heard meanwhile. */
export const awaitMessage = (receipt: Receipt): boolean =>
  Atomics.compareExchange(receipt, 0, UNHEARD, AWAITED) !== HEARD

/** When a report was dealt with. True: a message is waited for. */
export const hear = (receipt: Receipt): boolean => Atomics.exchange(receipt, 0, HEARD) === AWAITED

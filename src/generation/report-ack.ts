/**
 * Whether the latest report was dealt with: a word of memory that both threads see, so that neither wakes
 * the other to say so. Only where the one that reports can do nothing else before it knows, the other
 * sends it a message.
 */
const HEARD = 0
const UNHEARD = 1
const AWAITED = 2

/** [1] in shared memory. */
export type ReportAck = Int32Array<SharedArrayBuffer>

export const createReportAck = (): ReportAck => new Int32Array(new SharedArrayBuffer(4))

/** Before a report is sent. */
export const markSent = (receipt: ReportAck): void => {
  Atomics.store(receipt, 0, UNHEARD)
}

export const isAcknowledged = (receipt: ReportAck): boolean => Atomics.load(receipt, 0) === HEARD

/** Asks for a message. False: there is no need, it was heard meanwhile. */
export const requestAckMessage = (receipt: ReportAck): boolean =>
  Atomics.compareExchange(receipt, 0, UNHEARD, AWAITED) !== HEARD

/** When a report was dealt with. True: a message is waited for. */
export const acknowledge = (receipt: ReportAck): boolean =>
  Atomics.exchange(receipt, 0, HEARD) === AWAITED

/**
 * Whether the latest report has been dealt with: a word of memory that both threads see, so that neither
 * wakes the other to say so. Only a worker that can do nothing before it knows is sent a message. Both
 * threads use this file; it knows no message.
 */
const ACKNOWLEDGED = 0
const SENT = 1
/** Sent, and the worker waits for a message that says it has been dealt with. */
const MESSAGE_REQUESTED = 2

/** [1] in shared memory. */
export type ReportAck = Int32Array<SharedArrayBuffer>

export const createReportAck = (): ReportAck => new Int32Array(new SharedArrayBuffer(4))

/** Before a report is sent. */
export const markSent = (ack: ReportAck): void => {
  Atomics.store(ack, 0, SENT)
}

export const isAcknowledged = (ack: ReportAck): boolean => Atomics.load(ack, 0) === ACKNOWLEDGED

/** Asks for a message. False: there is no need for one, since the report has been dealt with meanwhile. */
export const requestAckMessage = (ack: ReportAck): boolean =>
  Atomics.compareExchange(ack, 0, SENT, MESSAGE_REQUESTED) !== ACKNOWLEDGED

/** When a report has been dealt with. True: the worker waits for a message that says so. */
export const acknowledge = (ack: ReportAck): boolean =>
  Atomics.exchange(ack, 0, ACKNOWLEDGED) === MESSAGE_REQUESTED

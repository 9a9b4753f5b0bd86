/** The runs of one request: submitted together, followed one by one, ended together. */
import type { FastifyReply } from 'fastify'
import { BasinError, fromErrorMessage } from '../errors.js'
import type { Run } from '../generation/client.js'
import type { JobEvent } from '../generation/protocol.js'

/** Aborted when the client leaves before it has the whole reply. */
export function abandonment(reply: FastifyReply): AbortSignal {
  const leaving = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) leaving.abort()
  })
  return leaving.signal
}

/** Those that have ended do not mind. */
export const cancelAll = (runs: readonly Run[]): void => {
  for (const run of runs) run.control({ type: 'cancel' })
}

/** Where the events of a run are entered. */
export interface Ledger {
  take: (event: JobEvent) => void
}

/** Cancelled when the client leaves, and refused when it has left. */
export async function endWith(
  abandoned: AbortSignal,
  submit: () => Promise<Run[]>,
): Promise<Run[]> {
  const left = (): boolean => abandoned.aborted
  if (left()) throw new BasinError('cancelled')
  const runs = await submit()
  if (left()) {
    cancelAll(runs)
    throw new BasinError('cancelled')
  }
  abandoned.addEventListener('abort', () => cancelAll(runs), { once: true })
  return runs
}

/** The events of a run, each entered in its ledger; a failure is thrown. Leaving it cancels the run. */
export async function* follow(
  run: Run,
  ledger: Ledger,
): AsyncGenerator<Exclude<JobEvent, { type: 'failed' }>, void> {
  for await (const event of run.events) {
    ledger.take(event)
    if (event.type === 'failed') throw fromErrorMessage(event.error)
    yield event
  }
}

/** The runs of one request: submitted together, followed one by one, ended together. */
import type { FastifyReply } from 'fastify'
import { BasinError, fromErrorMessage } from '../../errors.js'
import type { RequestStream } from '../../generation/client/engine-client.js'
import type { RequestEvent } from '../../generation/protocol.js'

/** Aborted when the client leaves before it has the whole reply. */
export function abandonment(reply: FastifyReply): AbortSignal {
  const leaving = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) leaving.abort()
  })
  return leaving.signal
}

/** Those that have ended do not mind. */
export const cancelAll = (runs: readonly RequestStream[]): void => {
  for (const run of runs) run.control({ type: 'cancel' })
}

/** Where the events of a run are entered. */
export interface RequestObserver {
  take: (event: RequestEvent) => void
}

/** Cancelled when the client leaves, and refused when it has left. */
export async function endWith(
  abandoned: AbortSignal,
  submit: () => Promise<RequestStream[]>,
): Promise<RequestStream[]> {
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
  run: RequestStream,
  ledger: RequestObserver,
): AsyncGenerator<Exclude<RequestEvent, { type: 'failed' }>, void> {
  for await (const event of run.events) {
    ledger.take(event)
    if (event.type === 'failed') throw fromErrorMessage(event.error)
    yield event
  }
}

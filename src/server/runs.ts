/** The runs of one request: submitted together, followed one by one, ended together. */
import type { FastifyReply } from 'fastify'
import { BasinError, fromErrorMessage } from '../errors.js'
import type { Generation, Run } from '../generation/client.js'
import type { Job, JobEvent } from '../generation/protocol.js'
import type { Account } from './metrics/account.js'

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

/** All of the jobs or none. Throws what `submit` throws, and `cancelled` for a client that has left. */
export function submitAll(
  generation: Generation,
  jobs: readonly Omit<Job, 'id'>[],
  abandoned: AbortSignal,
): Run[] {
  if (abandoned.aborted) throw new BasinError('cancelled')
  const runs: Run[] = []
  try {
    for (const job of jobs) runs.push(generation.submit(job))
  } catch (error) {
    cancelAll(runs)
    throw error
  }
  abandoned.addEventListener('abort', () => cancelAll(runs), { once: true })
  return runs
}

/** The events of a run, each entered in its account; a failure is thrown. Leaving it cancels the run. */
export async function* follow(
  run: Run,
  account: Account,
): AsyncGenerator<Exclude<JobEvent, { type: 'failed' }>, void> {
  for await (const event of run.events) {
    account.take(event)
    if (event.type === 'failed') throw fromErrorMessage(event.error)
    yield event
  }
}

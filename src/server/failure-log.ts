/**
 * What the log says of replies with a status of 500 and above. A failure (500) is logged with its stack. A
 * state in which the server refuses (503, such as a model that is being loaded) is no failure and is met by
 * every client at once: one line a second for each code, with how many it stands for.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { BasinError, ErrorCode } from '../errors.js'

const INTERVAL_MS = 1000

export class FailureLog {
  /** Refusals since the latest line, by code. A code is here while its last line is younger than the interval. */
  private readonly refused = new Map<ErrorCode, number>()

  constructor(private readonly log: FastifyBaseLogger) {}

  /** `log`: of the request. `cause`: what was thrown. `what`: the line of a failure. */
  report(log: FastifyBaseLogger, error: BasinError, cause: unknown, what: string): void {
    if (error.status === 500) log.error({ err: cause }, what)
    else if (error.status > 500) this.refuse(error)
  }

  private refuse(error: BasinError): void {
    const { code } = error
    const waiting = this.refused.get(code)
    if (waiting === undefined) this.write(error, 1)
    else this.refused.set(code, waiting + 1)
  }

  private write(error: BasinError, refused: number): void {
    const { code, message } = error
    this.log.warn({ code, refused }, message)
    this.refused.set(code, 0)
    setTimeout(() => {
      const waiting = this.refused.get(code) ?? 0
      if (waiting > 0) this.write(error, waiting)
      else this.refused.delete(code)
    }, INTERVAL_MS).unref()
  }
}

/**
 * When a loop reports: at once what a client waits for, the rest together with what the next
 * milliseconds bring, and nothing while the report before is not yet heard.
 */
import type { EngineCore, Report } from './engine-core.js'
import { isAcknowledged, markSent, type ReportAck } from '../report-ack.js'

/**
 * Seconds that steps and tokens may wait for the next ones: no screen shows more often. A tick of a small
 * model takes a fraction of it, and a report costs both threads some hundredths of a millisecond.
 */
const GATHERING = 0.016
/** The same, of accounts of ticks and events of jobs that nobody follows. */
const ACCOUNTING = 0.1

type Reporting = 'followed' | 'full' | 'now' | 'urgent' | 'report' | 'hasEvents'

export class Reporter {
  /** The loop has work. */
  busy = false
  private reportedAt = -Infinity
  /** When the first thing happened since the last report; undefined while nothing did. */
  private newsAt: number | undefined

  constructor(
    private readonly loop: Pick<EngineCore, Reporting>,
    private readonly receipt: ReportAck,
    private readonly send: (report: Report) => void,
  ) {}

  /** Something is yet to be told. */
  get hasUnreported(): boolean {
    return this.newsAt !== undefined
  }

  /** Something was asked of the loop: what it counts may have changed. */
  markDirty(): void {
    this.newsAt ??= this.loop.now()
  }

  /** After a tick; `busy`: another is to follow. */
  stepped(busy: boolean): void {
    this.busy = busy
    if (busy || this.loop.hasEvents) this.markDirty()
    this.reportIfDue()
  }

  reportIfDue(): void {
    if (this.newsAt === undefined || !this.isDue(this.newsAt) || !isAcknowledged(this.receipt))
      return
    markSent(this.receipt)
    this.newsAt = undefined
    this.reportedAt = this.loop.now()
    this.send(this.loop.report())
  }

  private isDue(newsAt: number): boolean {
    const { followed, full, urgent } = this.loop
    if (urgent || full || !this.busy) return true
    const now = this.loop.now()
    return followed ? now - this.reportedAt >= GATHERING : now - newsAt >= ACCOUNTING
  }
}

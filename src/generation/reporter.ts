/**
 * When a loop reports: at once what a client waits for, the rest together with what the next
 * milliseconds bring, and nothing while the report before is not yet heard.
 */
import type { GenerationLoop, Report } from './loop.js'

/**
 * Seconds that steps and tokens may wait for the next ones. A tick of a small model takes a fraction of
 * it, and a report costs both threads some hundredths of a millisecond.
 */
const GATHERING = 0.01
/** The same, of an account of ticks that tells no client anything. */
const ACCOUNTING = 0.1

export class Reporter {
  /** The loop has work. */
  busy = false
  private heard = true
  private reportedAt = -Infinity
  /** Something happened since the last report. */
  private news = false

  constructor(
    private readonly loop: Pick<GenerationLoop, 'full' | 'now' | 'pressing' | 'report' | 'untold'>,
    private readonly send: (report: Report) => void,
  ) {}

  /** After a tick; `busy`: another is to follow. */
  ticked(busy: boolean): void {
    this.busy = busy
    this.news = true
    this.reportIfDue()
  }

  /** The last report has been dealt with. */
  wasHeard(): void {
    this.heard = true
    this.reportIfDue()
  }

  private reportIfDue(): void {
    if (!this.heard || !this.news || !this.due) return
    this.heard = false
    this.news = false
    this.reportedAt = this.loop.now()
    this.send(this.loop.report())
  }

  private get due(): boolean {
    const { full, pressing, untold } = this.loop
    if (pressing || full || !this.busy) return true
    return this.loop.now() - this.reportedAt >= (untold ? GATHERING : ACCOUNTING)
  }
}

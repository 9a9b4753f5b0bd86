/**
 * Text that grows above one line of status, on a terminal. Lines that are full are left behind; only
 * the last one and the status are drawn again.
 */
import type { WriteStream } from 'node:tty'

/** Back to the beginning of the line, and clear to the end of the screen. */
const CLEAR = '\r\x1b[J'

export class Screen {
  private line = ''

  constructor(private readonly out: WriteStream) {}

  append(text: string): void {
    this.line += text
    const rows = this.line.split('\n').flatMap((row) => this.wrap(row))
    this.line = rows.pop() ?? ''
    this.out.write(CLEAR + rows.map((row) => `${row}\n`).join(''))
  }

  /** `pending`: text that may still change; `status`: short enough for one line. */
  draw(pending: string, status: string): void {
    const [shown = ''] = this.wrap(this.line + pending.replaceAll('\n', ' '))
    this.out.write(`${CLEAR}${shown}\n${status}\x1b[1A\r`)
  }

  /** Leaves the text as it is. */
  close(): void {
    this.out.write(`${CLEAR}${this.line}\n`)
  }

  private wrap(text: string): string[] {
    const width = Math.max(1, this.out.columns)
    const rows: string[] = []
    let rest = Array.from(text)
    while (rest.length > width) {
      rows.push(rest.slice(0, width).join(''))
      rest = rest.slice(width)
    }
    return [...rows, rest.join('')]
  }
}

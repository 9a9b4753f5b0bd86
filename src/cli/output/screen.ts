/**
 * Text on a terminal that grows above one line of status. Only the last line of the text and the status
 * are drawn again; lines above are left as they are.
 */
import type { WriteStream } from 'node:tty'

/** Moves to the beginning of the line and clears from there to the end of the screen. */
const CLEAR = '\r\x1b[J'

export class Screen {
  private line = ''

  constructor(private readonly out: WriteStream) {}

  /** Adds text that does not change any more. */
  append(text: string): void {
    this.line += text
    const rows = this.line.split('\n').flatMap((row) => this.wrap(row))
    this.line = rows.pop() ?? ''
    this.out.write(CLEAR + rows.map((row) => `${row}\n`).join(''))
  }

  /** Draws `pending`, text that may still change, and `status`, which must fit in one line. */
  draw(pending: string, status: string): void {
    const [shown = ''] = this.wrap(this.line + pending.replaceAll('\n', ' '))
    this.out.write(`${CLEAR}${shown}\n${status}\x1b[1A\r`)
  }

  /** Removes the status and ends the line. */
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

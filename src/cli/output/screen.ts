/**
 * Text on a terminal that grows above one line of status. Only the last line of the text, what may still
 * change after it, and the status are drawn again; lines above are left as they are.
 */
import type { WriteStream } from 'node:tty'
import { coloured } from './template-drawing.js'

/** Moves to the beginning of the line and clears from there to the end of the screen. */
const CLEAR = '\r\x1b[J'

/** Text that may still change. */
export interface PendingText {
  text: string
  certainty: number
}

interface Character {
  text: string
  /** As it is written. */
  drawn: string
}

const plain = (text: string): Character[] =>
  Array.from(text, (character) => ({ text: character, drawn: character }))

const drawn = (row: readonly Character[]): string => row.map((each) => each.drawn).join('')

export class Screen {
  private line = ''

  constructor(private readonly out: WriteStream) {}

  /** Adds text that does not change any more. */
  append(text: string): void {
    this.line += text
    const rows = this.line.split('\n').flatMap((row) => this.wrap(plain(row)))
    this.line = drawn(rows.pop() ?? [])
    this.out.write(CLEAR + rows.map((row) => `${drawn(row)}\n`).join(''))
  }

  /** Draws `pending`, and `status`, which must fit in one line. */
  draw(pending: readonly PendingText[], status: string): void {
    const characters = pending.flatMap(({ certainty, text }) =>
      plain(text.replaceAll('\n', ' ')).map((each) => ({
        ...each,
        drawn: coloured(each.text, certainty),
      })),
    )
    // What has left the screen could not be cleared any more.
    const rows = this.wrap([...plain(this.line), ...characters]).slice(
      0,
      Math.max(1, this.out.rows - 1),
    )
    const shown = rows.map((row) => `${drawn(row)}\n`).join('')
    this.out.write(`${CLEAR}${shown}${status}\x1b[${String(rows.length)}A\r`)
  }

  /** Removes the status and ends the line. */
  close(): void {
    this.out.write(`${CLEAR}${this.line}\n`)
  }

  /** Breaks lines after spaces, and words that are longer than a line. At least one row. */
  private wrap(characters: readonly Character[]): Character[][] {
    const width = Math.max(1, this.out.columns)
    const rows: Character[][] = []
    let from = 0
    while (characters.length - from > width) {
      const space = characters.slice(from, from + width).findLastIndex(({ text }) => text === ' ')
      const to = space < 0 ? from + width : from + space + 1
      rows.push(characters.slice(from, to))
      from = to
    }
    return [...rows, characters.slice(from)]
  }
}

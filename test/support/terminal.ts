/** A program in a pseudo terminal of 80 columns and 24 lines, which util-linux's `script` makes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Why there can be no terminal; undefined where there can. */
export const noTerminal = existsSync('/usr/bin/script') ? undefined : '/usr/bin/script is missing'

/** Without colours and movements of the cursor. */
export const plain = (text: string): string => text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '')

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

export class Terminal {
  /** Everything that was written so far. */
  output = ''
  private readonly child: ChildProcess
  private readonly closed: Promise<unknown[]>

  constructor(...args: string[]) {
    const command = `stty cols 80 rows 24; exec ${[process.execPath, main, ...args].map(quoted).join(' ')}`
    this.child = spawn('script', ['-qec', command, '/dev/null'])
    this.child.stdout?.on('data', (data: Buffer) => (this.output += data.toString()))
    this.closed = once(this.child, 'close')
  }

  type(text: string): void {
    this.child.stdin?.write(text)
  }

  /** Waits for a match of `pattern` in what is written from now on, without colours. */
  async says(pattern: RegExp): Promise<void> {
    const from = this.output.length
    while (!pattern.test(plain(this.output.slice(from)))) {
      if (this.child.exitCode !== null) throw new Error(`ended: ${this.output}`)
      await Promise.race([this.closed, once(this.child.stdout ?? this.child, 'data')])
    }
  }

  /** The exit status, and what was drawn last: after the cursor went up for it. */
  async end(): Promise<{ code: number | null; last: string[] }> {
    const [code] = (await this.closed) as [number | null]
    return { code, last: plain(this.output.split('\x1b[J').at(-1) ?? '').split('\r\n') }
  }
}

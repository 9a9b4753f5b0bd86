/**
 * The lines that are typed, or piped in. At a terminal each is read on its own, so that between two of them the
 * keyboard belongs to the terminal, and Ctrl-C is a signal.
 */
import { createInterface, type Interface } from 'node:readline'

/** Ends at the end of the input, and where Ctrl-C is pressed at the prompt. */
export async function* typedLines(prompt: string): AsyncGenerator<string, void> {
  const { stderr, stdin, stdout } = process
  if (!stdin.isTTY) {
    yield* createInterface({ input: stdin })
    return
  }
  const output = stdout.isTTY ? stdout : stderr
  let history: string[] = []
  for (;;) {
    const reader = createInterface({ input: stdin, output, prompt, history })
    reader.on('history', (lines: string[]) => (history = lines))
    const line = await lineOf(reader)
    reader.close()
    if (line === undefined) {
      output.write('\n')
      return
    }
    yield line
  }
}

/** Undefined where the input ends, and where Ctrl-C is pressed. */
function lineOf(reader: Interface): Promise<string | undefined> {
  return new Promise((resolve) => {
    reader.once('line', resolve)
    reader.once('close', () => {
      resolve(undefined)
    })
    reader.once('SIGINT', () => {
      resolve(undefined)
    })
    reader.prompt()
  })
}

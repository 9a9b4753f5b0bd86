/** What tests wait for of a process that they have started. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Until it writes to standard output or is gone; what did not come is listened for no more. */
export async function outputOrEnd(child: ChildProcess): Promise<void> {
  const over = new AbortController()
  try {
    await Promise.race([once(child, 'close', over), once(child.stdout ?? child, 'data', over)])
  } finally {
    over.abort()
  }
}

/** Ports of servers that must know theirs before they start, or get the same one again. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** The systems that the tests run on give ports from 32768 on to connections, which would take one of these. */
const [FIRST, LAST] = [20_000, 32_767]

/** A port that is free now, and that no connection is given meanwhile. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1))
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      continue
    }
    server.close()
    await once(server, 'close')
    return port
  }
}

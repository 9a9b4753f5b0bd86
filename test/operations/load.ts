/** A small load with all cases that metrics distinguish: finish reasons, refusals, lengths, streams. */
import type { Server } from '../support/process.js'

const complete = async (server: Server, body: object): Promise<void> => {
  await (await server.post('/v1/completions', body)).text()
}

const unbounded = { max_steps: null, max_seconds: 0.05 }

export const oneRound = (server: Server): Promise<unknown> =>
  Promise.all([
    complete(server, { prompt: 'once upon a time', max_tokens: 8 }),
    complete(server, { prompt: 'there was', max_tokens: 6, stream: true }),
    complete(server, { prompt: 'a', refinement: { max_steps: 200, tolerance: 0.1 } }),
    complete(server, { prompt: 'b', max_tokens: 2, refinement: unbounded }),
    complete(server, { prompt: '' }),
  ])

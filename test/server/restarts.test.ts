/** Restarts and commits through every door, on a scripted engine: what reaches the engine, what is refused. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Peer } from '../support/peer.js'
import {
  type ErrorBody,
  openServer,
  post,
  socketAddress,
  type TestServer,
} from '../support/server.js'

let server: TestServer
beforeEach(async () => {
  server = await openServer()
})
afterEach(() => server.app.close())

const refinement = {
  max_steps: 90,
  restarts: { after: 6, keep: 3, most: 20, policy: 'near' },
  commit: { count: 2, by: 'entropy', draw: 'sample', after: 4, reopen: true },
}
const budget = {
  maxSteps: 90,
  candidates: 3,
  restarts: { after: 6, most: 20, policy: 'near', alone: 0 },
  commit: { count: 2, draw: 'sample', after: 4, reopen: true },
}

/** The scripted engine takes chats that begin with a system message. */
const messages = [
  { role: 'system', content: 'a' },
  { role: 'user', content: 'b' },
]

describe('restarts and commits', () => {
  it.each([
    ['/v1/completions', { prompt: 'a', max_tokens: 1 }],
    ['/v1/chat/completions', { messages, max_tokens: 1 }],
    ['/v1/responses', { input: 'a', max_output_tokens: 1 }],
  ])('are asked for in %s', async (url, body) => {
    const reply = await post(server.app, url, { ...body, refinement })
    expect(reply.statusCode).toBe(200)
    expect(server.engine.jobs[0]?.budget).toMatchObject(budget)
  })

  it('are asked for on the socket', async () => {
    const peer = await Peer.connect(await socketAddress(server.app))
    peer.say({ type: 'start', prompt: 'a', max_tokens: 1, refinement })
    await peer.finished()
    expect(server.engine.jobs[0]?.budget).toMatchObject(budget)
    peer.socket.terminate()
  })

  it('cost the steps of all descents together', async () => {
    await server.app.close()
    server = await openServer({}, { steps: 100 })
    const asked = (max_steps: number) =>
      post(server.app, '/v1/completions', {
        prompt: 'a',
        max_tokens: 1,
        refinement: { ...refinement, max_steps },
      })
    expect((await asked(100)).statusCode).toBe(200)
    expect((await asked(101)).statusCode).toBe(400)
  })

  it.each([
    [{ restarts: { after: 0 } }, 'refinement.restarts.after'],
    [{ restarts: { after: 'soon' } }, 'refinement.restarts.after'],
    [{ restarts: { keep: 65 } }, 'refinement.restarts.keep'],
    [{ restarts: { policy: 'luck' } }, 'refinement.restarts.policy'],
    [{ restarts: { depth: 3 } }, 'refinement.restarts.depth'],
    [{ restarts: {}, allocation: 'adaptive' }, 'refinement.allocation'],
    [{ commit: {} }, 'refinement.commit'],
    [{ commit: { count: 2, share: 0.5 } }, 'refinement.commit'],
    [{ commit: { share: 0 } }, 'refinement.commit.share'],
    [{ commit: { count: 1, by: 'luck' } }, 'refinement.commit.by'],
  ])('are refused with the name of the field at fault: %j', async (wrong, param) => {
    const reply = await post(server.app, '/v1/completions', { prompt: 'a', refinement: wrong })
    expect(reply.statusCode).toBe(400)
    expect(reply.json<ErrorBody>().error.param).toBe(param)
  })

  it('have no place in a landscape, whose lines join candidates that descend once', async () => {
    const asked = (more: object) =>
      post(server.app, '/v1/landscape', { prompt: 'a', reasoning_effort: 'high', ...more })
    const reply = await asked({ refinement: { restarts: {} } })
    expect(reply.statusCode).toBe(400)
    expect(reply.json<ErrorBody>().error.param).toBe('refinement.restarts')
  })
})

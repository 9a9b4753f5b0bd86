/** JSON that nests too deep is refused, in bodies and in frames. */
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { App } from '../../src/server/context.js'
import { ScriptedGeneration } from '../support/scripted-generation.js'
import { appOf, type ErrorBody, post, socketAddress } from '../support/server.js'

let app: App
afterEach(() => app.close())

const open = async (): Promise<void> => {
  app = await appOf(new ScriptedGeneration())
}

describe('a JSON body', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

  it.each([
    ['lists', nested(100_000)],
    ['lists that never end', '['.repeat(1_000_000)],
    ['objects', '{"a":'.repeat(100) + '1' + '}'.repeat(100)],
    ['a field', `{"prompt": ${nested(40)}}`],
  ])('is refused before it is parsed if its %s nest too deep', async (_, payload) => {
    await open()
    const reply = await post(app, '/v1/completions', payload)
    expect(reply.statusCode).toBe(400)
    expect(reply.json<ErrorBody>().error).toMatchObject({ param: 'body', code: 'out_of_range' })
  })

  it('may have brackets in its strings', async () => {
    await open()
    const prompt = `${'['.repeat(20)}\\"${'{'.repeat(20)}`
    expect((await post(app, '/v1/completions', { prompt, max_tokens: 1 })).statusCode).toBe(200)
  })

  it('is refused in a frame too, and the socket stays open', async () => {
    await open()
    const socket = new WebSocket(await socketAddress(app))
    await new Promise((resolve) => socket.once('open', resolve))
    const said = new Promise<string>((resolve) =>
      socket.once('message', (data: Buffer) => resolve(data.toString())),
    )
    socket.send(nested(1000))
    expect(JSON.parse(await said)).toMatchObject({ error: { code: 'invalid_frame' } })
    expect(socket.readyState).toBe(WebSocket.OPEN)
    socket.terminate()
  })
})

/** The built server on the WebGPU engine: what it says of its adapter, its texts, and its end under load. */
import { afterAll, expect, it } from 'vitest'
import { Server, writeModels } from '../support/process.js'
import { describeWebgpu, everything } from './support.js'

const models = writeModels()
const servers: Server[] = []
const flags = ['--slots', '8', '--pages', '64', '--drain-seconds', '0']
const start = async (engine: string): Promise<Server> => {
  const server = await Server.start(models, '--engine', engine, ...flags)
  servers.push(server)
  return server
}
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()))
})

const greedy = { prompt: 'once upon', max_tokens: 4, temperature: 0, refinement: { max_steps: 6 } }
const endless = { ...greedy, refinement: { max_steps: null, tolerance: 0, min_steps: 100_000 } }
const soon = { timeout: 60_000 }

describeWebgpu('a server on the WebGPU engine', () => {
  it('names its adapter, gives the text of the native engine, and ends with 0 while it computes', async () => {
    const [server, other] = [await start('webgpu'), await start('auto')]
    const [model] = ((await (await fetch(`${server.url}/health`)).json()) as HealthBody).models
    expect(model).toMatchObject({ engine: { name: 'webgpu', reason: 'asked for' } })
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toContain(`engine="webgpu",backend="${model?.engine.backend ?? ''}"`)
    const texts = await Promise.all([server.complete(greedy), other.complete(greedy)])
    expect(texts[0].choices[0]?.text).toBe(texts[1].choices[0]?.text)

    for (let dropped = 0; dropped < (everything ? 100 : 10); dropped++) {
      const leaving = new AbortController()
      const asked = server.post('/v1/completions', { ...endless, stream: true }, leaving.signal)
      await (await asked).body?.getReader().read()
      leaving.abort()
    }
    await expect.poll(() => server.metric('basin_slots_used'), soon).toBe(0)

    const running = Array.from({ length: 4 }, () => server.complete(endless).catch(() => undefined))
    await expect.poll(() => server.metric('basin_slots_used'), soon).toBe(4)
    expect(await server.stop()).toMatchObject({ code: 0 })
    await Promise.all(running)
  }, 600_000)

  it.runIf(everything)(
    'ends with 0 on each of 20 signals under load',
    async () => {
      for (let signal = 0; signal < 20; signal++) {
        const server = await start('webgpu')
        const running = server.complete(endless).catch(() => undefined)
        await expect.poll(() => server.metric('basin_slots_used'), soon).toBe(1)
        expect(await server.stop()).toMatchObject({ code: 0 })
        await running
      }
    },
    1_200_000,
  )
})

interface HealthBody {
  models: { engine: { name: string; backend: string; reason: string } }[]
}

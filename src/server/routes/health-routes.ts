/**
 * `/health`: this process answers, and its engines still turn. `/ready`: send work here. Neither waits
 * for an engine: whether it turns is known (Generation.silence).
 */
import { Type } from 'typebox'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { App } from '../application.js'
import type { AppContext } from '../context.js'
import { refusals } from '../schemas/reply-schema.js'

const Health = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('draining'), Type.Literal('stalled')]),
  version: Type.String(),
  uptime_seconds: Type.Number(),
  models: Type.Array(
    Type.Object({
      model: Type.String(),
      engine: Type.Object({
        name: Type.String(),
        backend: Type.String(),
        threads: Type.Integer(),
        reason: Type.String({ description: 'why this engine and not another' }),
      }),
      waiting: Type.Integer(),
      outstanding: Type.Integer({ description: 'waiting or running' }),
      stalled: Type.Boolean({ description: 'its engine is gone, or has not turned for long' }),
      idle_seconds: Type.Number({ description: 'since the engine last gave a sign of life' }),
    }),
  ),
})

export function healthRoutes(app: App, { draining, limits, models, version }: AppContext): void {
  const stateOf = ([model, generation]: [string, EngineClient]) => ({
    model,
    engine: generation.engine,
    waiting: generation.waiting,
    outstanding: generation.outstanding,
    stalled: generation.silence > limits.stallSeconds,
    idle_seconds: (performance.now() - generation.lastTick) / 1000,
  })
  const health = () => {
    const states = [...models.byName].map(stateOf)
    const running = draining() ? ('draining' as const) : ('ok' as const)
    const stalled = states.some((state) => state.stalled)
    return {
      status: stalled ? ('stalled' as const) : running,
      version,
      uptime_seconds: process.uptime(),
      models: states,
    }
  }
  const tags = ['operation']
  const response = { ...refusals(403, 500), 200: Health, 503: Health }
  app.get(
    '/health',
    { schema: { summary: 'Does the process live, and do its engines turn?', tags, response } },
    async (_, reply) => {
      const state = health()
      return reply.code(state.status === 'stalled' ? 503 : 200).send(state)
    },
  )
  app.get(
    '/ready',
    { schema: { summary: 'Should it get work?', tags, response } },
    async (_, reply) => {
      const state = health()
      return reply.code(state.status === 'ok' ? 200 : 503).send(state)
    },
  )
}

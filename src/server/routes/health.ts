/** `/health`: this process answers. `/ready`: send work here. Neither asks an engine anything. */
import { Type } from 'typebox'
import type { Generation } from '../../generation/client.js'
import type { App, Parts } from '../parts.js'

const Health = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('draining')]),
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
      idle_seconds: Type.Number({ description: 'since the engine last gave a sign of life' }),
    }),
  ),
})

const stateOf = ([model, generation]: [string, Generation]) => ({
  model,
  engine: generation.engine,
  waiting: generation.waiting,
  outstanding: generation.outstanding,
  idle_seconds: (performance.now() - generation.lastTick) / 1000,
})

export function healthRoutes(app: App, { draining, models, version }: Parts): void {
  const health = () => ({
    status: draining() ? ('draining' as const) : ('ok' as const),
    version,
    uptime_seconds: process.uptime(),
    models: [...models.byName].map(stateOf),
  })
  const tags = ['operation']
  app.get(
    '/health',
    { schema: { summary: 'Is the process alive?', tags, response: { 200: Health } } },
    health,
  )
  app.get(
    '/ready',
    { schema: { summary: 'Should it get work?', tags, response: { 200: Health, 503: Health } } },
    async (_, reply) => reply.code(draining() ? 503 : 200).send(health()),
  )
}

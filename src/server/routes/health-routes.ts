/**
 * `/health`: this process answers, and its engines do. `/ready`: it should get work. Neither waits for an
 * engine: the watchdog of its worker knows whether it answers (EngineClient.silence).
 */
import { Type } from 'typebox'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { App, AppContext } from '../context.js'
import { refusals } from '../schemas/reply-schema.js'

/** Paths that need no key and no known host name, so that orchestrators can call them by address. */
export const livenessPaths: readonly (string | undefined)[] = ['/health', '/ready']

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
      outstanding: Type.Integer({ description: 'requests that wait or run' }),
      stalled: Type.Boolean({ description: 'its engine is gone, or has not answered for long' }),
      idle_seconds: Type.Number({ description: 'since the engine last answered or reported' }),
    }),
  ),
})

export function healthRoutes(
  app: App,
  {
    draining,
    limits,
    models,
    version,
  }: Pick<AppContext, 'draining' | 'limits' | 'models' | 'version'>,
): void {
  const stateOf = ([model, engine]: [string, EngineClient]) => ({
    model,
    engine: engine.engine,
    waiting: engine.waiting,
    outstanding: engine.outstanding,
    stalled: engine.silence > limits.stallSeconds,
    idle_seconds: (performance.now() - engine.lastTick) / 1000,
  })
  const health = () => {
    const states = [...models.inMemory].map(stateOf)
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
  // None, where other routes need a key.
  const security: never[] = []
  const response = { ...refusals(400, 403, 500), 200: Health, 503: Health }
  app.get(
    '/health',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'Does the process live, and do its engines answer?',
        tags,
        security,
        response,
      },
    },
    async (_, reply) => {
      const state = health()
      return reply.code(state.status === 'stalled' ? 503 : 200).send(state)
    },
  )
  app.get(
    '/ready',
    {
      schema: {
        operationId: 'getReady',
        summary: 'Should it get work?',
        tags,
        security,
        response,
      },
    },
    async (_, reply) => {
      const state = health()
      return reply.code(state.status === 'ok' ? 200 : 503).send(state)
    },
  )
}

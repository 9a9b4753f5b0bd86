/** `/admin`: loads and unloads models, for the holders of an administrator's key only. */
import { Type } from 'typebox'
import { BasinError } from '../../errors.js'
import type { App, AppContext } from '../context.js'
import { forAdministrators } from '../plugins/auth.js'
import { replies } from '../schemas/reply-schema.js'
import type { ModelSource, ModelState } from './model-registry.js'

const State = Type.Object({
  id: Type.String(),
  state: Type.Unsafe<ModelState>({
    enum: ['loaded', 'loading', 'leaving', 'unloaded'],
    description: 'leaving: it answers earlier requests and then leaves memory',
  }),
  withdrawn: Type.Boolean({ description: 'unloaded here, so that no request brings it back' }),
  bytes: Type.Integer({
    description: 'memory that it takes; of a model never loaded, the size of its weights',
  }),
  idle_seconds: Type.Number({ description: 'since its last use; 0 while it is in use' }),
})

/** `rescan`: finds the models that there are; undefined where they are always the same. */
export function adminRoutes(
  app: App,
  { models }: Pick<AppContext, 'models'>,
  rescan?: () => ReadonlyMap<string, ModelSource>,
): void {
  const tags = ['administration']
  const params = Type.Object({ model: Type.String() })
  const onRequest = forAdministrators
  const list = () =>
    models.states.map(({ idleSeconds, name, ...rest }) => ({
      id: name,
      ...rest,
      idle_seconds: idleSeconds,
    }))
  const stateOf = (model: string) => {
    const state = list().find(({ id }) => id === model)
    if (state) return state
    throw new BasinError('not_found', { what: `The model ${model}` })
  }
  const List = Type.Object({ object: Type.Literal('list'), data: Type.Array(State) })
  app.get(
    '/admin/models',
    {
      onRequest,
      schema: {
        operationId: 'listModelStates',
        summary: 'Which models there are',
        tags,
        response: replies(List),
      },
    },
    () => ({ object: 'list' as const, data: list() }),
  )
  const Rescan = Type.Object({
    object: Type.Literal('rescan'),
    added: Type.Array(Type.String(), { description: 'in memory when a request needs them first' }),
    removed: Type.Array(Type.String(), {
      description: 'their directories are gone; those in memory answer until they are unloaded',
    }),
  })
  app.post(
    '/admin/models/rescan',
    {
      onRequest,
      schema: {
        operationId: 'rescanModels',
        summary: 'Look again for models in the directory that --models names',
        tags,
        response: replies(Rescan, 400),
      },
    },
    () => {
      const reason = 'the models of this server are always the same'
      if (!rescan) throw new BasinError('not_supported', { param: 'rescan', reason })
      return { object: 'rescan' as const, ...models.replaceSources(rescan()) }
    },
  )
  app.post(
    '/admin/models/:model/load',
    {
      onRequest,
      schema: {
        operationId: 'loadModel',
        summary: 'Bring a model into memory; answers when it is there',
        tags,
        params,
        response: replies(State, 400, 404),
      },
    },
    async ({ params: { model } }) => {
      await models.load(model)
      return stateOf(model)
    },
  )
  app.post(
    '/admin/models/:model/unload',
    {
      onRequest,
      schema: {
        operationId: 'unloadModel',
        summary: 'Refuse new requests for a model; it leaves when earlier ones are answered',
        tags,
        params,
        response: { ...replies(State, 400, 404), 202: State },
      },
    },
    ({ params: { model } }, reply) => {
      const before = stateOf(model)
      void models.unload(model)
      void reply.code(before.state === 'unloaded' ? 200 : 202)
      return stateOf(model)
    },
  )
}

/**
 * Resolves the model that a request names, once: from before its handler runs until its reply is out or its
 * client has left, the model is in memory and stays there.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Requester } from '../requests/requester.js'
import { modelOfState } from '../openai/responses/response-state.js'
import type { ModelLease, ModelRegistry } from '../models/model-registry.js'
import { whenReplyEnds } from '../pending-replies.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The model that answers. Throws for a route whose body has no field `model`. */
    readonly engine: Requester['engine']
  }
}

/** The fields by which a body names a model. */
interface Named {
  model?: string | null
  resume_from?: string | null
}

export const modelLease = fp<{ models: ModelRegistry }>(
  (app, { models }, done) => {
    const leases = new WeakMap<FastifyRequest, ModelLease>()
    app.decorateRequest('engine', {
      getter() {
        const lease = leases.get(this)
        if (!lease) throw new Error(`${this.routeOptions.url ?? 'this route'} names no model`)
        return lease.engine
      },
    })
    app.addHook('preHandler', async (request, { raw }) => {
      const schema = request.routeOptions.schema?.body as { properties?: object } | undefined
      if (!schema?.properties || !('model' in schema.properties)) return
      const { model, resume_from: state } = request.body as Named
      const lease = await models.lease(model ?? (state ? modelOfState(state) : undefined))
      leases.set(request, lease)
      // The client may have left while the model was loaded.
      whenReplyEnds(raw, lease.release)
    })
    done()
  },
  { name: 'model-lease' },
)

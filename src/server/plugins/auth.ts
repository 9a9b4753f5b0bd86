/** Identifies the client of each request, by its API key where the server has keys. */
import type { onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { BasinError } from '../../errors.js'
import type { ApiKeys } from '../api-keys.js'
import type { Requester } from '../requests/requester.js'
import { livenessPaths } from '../routes/health-routes.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the key, or the address where the server has no keys. */
    client: Requester['client']
    /** The name of the key; the same for everybody where the server has no keys. */
    owner: Requester['owner']
    /** The key is an administrator's. */
    administrator: boolean
  }
  interface FastifyContextConfig {
    /** The route needs no key: its replies say nothing of models or of clients. */
    public?: boolean
    /** A page that a browser opens by itself: it asks for the key and sends it as a password. */
    page?: boolean
  }
}

/** For routes that are for administrators only. Where the server has no keys nobody is one. */
export const forAdministrators: onRequestHookHandler = ({ administrator }, _, done) => {
  const reason = 'This needs the key of an administrator'
  done(administrator ? undefined : new BasinError('forbidden', { reason }))
}

/** Without keys everybody who reaches the server may ask. */
export const auth = fp<{ keys: ApiKeys | undefined }>(
  (app, { keys }, done) => {
    app.decorateRequest('client', '')
    app.decorateRequest('owner', '')
    app.decorateRequest('administrator', false)
    app.addHook('onRequest', async (request, reply) => {
      request.client = request.ip
      const { page = false, public: open } = request.routeOptions.config
      if (!keys || open) return
      if (livenessPaths.includes(request.routeOptions.url)) return
      void reply.header('www-authenticate', page ? 'Basic realm="Basin"' : 'Bearer')
      const { admin, name } = keys.identify(request.headers, page)
      request.client = name
      request.owner = name
      request.administrator = admin
      void reply.removeHeader('www-authenticate')
    })
    done()
  },
  { name: 'auth' },
)

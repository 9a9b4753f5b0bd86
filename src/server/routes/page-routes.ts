/**
 * The web page at `/`: files that `npm run build` makes of web/ and that need no key, since they say
 * nothing of models or clients. What the page shows it asks the API for.
 */
import fastifyStatic from '@fastify/static'
import type { FastifyReply } from 'fastify'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BasinError } from '../../errors.js'
import type { App } from '../context.js'

const root = fileURLToPath(new URL('../../../dist/page/', import.meta.url))

/** Everything from this server, no script or style within the page, and in nobody's frame. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export async function pageRoutes(app: App): Promise<void> {
  const route = { config: { public: true }, schema: { hide: true } }
  if (!existsSync(join(root, 'index.html'))) {
    app.get('/', route, () => {
      const what = 'The web page (`npm run build` makes it; the API is described at /docs)'
      throw new BasinError('not_found', { what })
    })
    return
  }
  await app.register(fastifyStatic, { root, serve: false, preCompressed: true })
  const send = (reply: FastifyReply, file: string) =>
    reply
      .header('content-security-policy', POLICY)
      .header('cache-control', 'no-cache')
      .sendFile(file)
  app.get('/', route, (_, reply) => send(reply, 'index.html'))
  for (const file of readdirSync(join(root, 'page')))
    if (!/\.(br|gz)$/.test(file))
      app.get(`/page/${file}`, route, (_, reply) => send(reply, `page/${file}`))
}

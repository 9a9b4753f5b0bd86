/**
 * What browsers may bring to this server. A page of another origin is refused unless it is listed. A request
 * that calls the server by an unknown name is refused, since a stranger's DNS may have made that name point
 * here (DNS rebinding). Knows headers, and neither keys nor what routes do.
 */
import cors from '@fastify/cors'
import fp from 'fastify-plugin'
import helmet from 'helmet'
import { isIP } from 'node:net'
import { BasinError } from '../../errors.js'
import { usageKinds } from '../requests/usage-store.js'
import { livenessPaths } from '../routes/health-routes.js'

export interface OriginPolicy {
  /** Names that requests may call the server by; `*`: any; absent: private ones, or any where there are keys. */
  readonly hosts?: readonly string[]
  /** Origins whose pages may ask, such as `https://chat.example`; `*`: all. */
  readonly origins?: readonly string[]
}

/** Last labels of names that no public DNS has. */
const privateLabels = ['internal', 'local', 'localhost', 'svc', 'test']

/** The name in a `Host` header or an origin, without the port; undefined for what cannot be one. */
function nameIn(authority: string): string | undefined {
  const url = URL.canParse(`http://${authority}`) ? new URL(`http://${authority}`) : undefined
  return url?.hostname.replace(/^\[|\]$|\.$/g, '')
}

/** An address, a single label, or a name below a label that is never delegated. */
export function isPrivate(name: string): boolean {
  if (isIP(name) > 0) return true
  const labels = name.split('.')
  return labels.length === 1 || privateLabels.includes(labels.at(-1) ?? '')
}

/** Whether a request may call the server what its `Host` header says. */
export function acceptsHost(
  host: string | undefined,
  hosts: readonly string[] | undefined,
): boolean {
  if (hosts?.includes('*')) return true
  const name = nameIn(host ?? '')
  if (name === undefined) return false
  return hosts ? hosts.includes(name) : isPrivate(name)
}

/** The same, with the latest result kept: most clients call the server by one name. */
function cachedAcceptsHost(hosts: OriginPolicy['hosts']): (host: string | undefined) => boolean {
  let latest: { host: string | undefined; accepted: boolean } | undefined
  return (host) => {
    if (!latest || latest.host !== host) latest = { host, accepted: acceptsHost(host, hosts) }
    return latest.accepted
  }
}

/** Whether a page of this origin may ask a server that the request calls `host`. */
export function acceptsOrigin(
  origin: string,
  host: string | undefined,
  origins: readonly string[] = [],
): boolean {
  if (origins.includes('*') || origins.includes(origin)) return true
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}

/** Two names would let whatever stands in front of this server see another one than the server does. */
const hostHeaders = (rawHeaders: readonly string[]): number =>
  rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length

/** Headers that scripts of listed origins may read. */
const exposedHeaders = [
  'retry-after',
  'x-request-id',
  'x-completion-id',
  ...['limit', 'remaining', 'reset'].flatMap((which) =>
    usageKinds.map((kind) => `x-ratelimit-${which}-${kind}`),
  ),
]

export interface OriginPolicyOptions {
  policy: OriginPolicy
  /** The server has keys. Then any name is accepted by default, since a stranger's page has no key. */
  keyed: boolean
}

/** Browsers call the origin of a page that was opened from a file `null`. */
const refusalOf = (origin: string | undefined): string =>
  origin === 'null'
    ? 'Pages opened from files may not ask this server; --cors-origin null lets them'
    : 'Pages of that origin may not ask this server; --cors-origin with it lets them'

export const originPolicy = fp<OriginPolicyOptions>(
  async (app, { keyed, policy }) => {
    const { hosts = keyed ? ['*'] : undefined, origins } = policy
    const accepts = cachedAcceptsHost(hosts)
    app.addHook('onRequest', ({ raw }, _, done) => {
      const reason = 'a request has one, and this has several'
      const refused = hostHeaders(raw.rawHeaders) > 1
      done(refused ? new BasinError('invalid_request', { param: 'host', reason }) : undefined)
    })
    app.addHook('onRequest', ({ headers: { host, origin }, routeOptions }, _, done) => {
      const named = livenessPaths.includes(routeOptions.url) || accepts(host)
      const admitted = origin === undefined || acceptsOrigin(origin, host, origins)
      const reason = named ? refusalOf(origin) : 'This server does not go by that name'
      done(named && admitted ? undefined : new BasinError('forbidden', { reason }))
    })
    // The plugin @fastify/helmet would assemble this anew for every request.
    const setSecurityHeaders = helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
      },
      // Whatever ends TLS in front of this server knows whether the host always has it.
      strictTransportSecurity: false,
    })
    app.addHook('onRequest', (request, reply, done) => {
      setSecurityHeaders(request.raw, reply.raw, (error) => {
        done(error instanceof Error ? error : undefined)
      })
    })
    if (!origins) return
    await app.register(cors, {
      origin: origins.includes('*') ? '*' : [...origins],
      methods: ['GET', 'POST', 'DELETE'],
      exposedHeaders,
      maxAge: 600,
    })
  },
  { name: 'origin-policy' },
)

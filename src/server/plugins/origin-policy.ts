/**
 * What browsers may bring to this server. A page of another origin is refused unless it is listed; a
 * name that the server does not go by is refused, since it may be one that a stranger's DNS made point
 * here (rebinding). Knows headers, and neither keys nor routes.
 */
import cors from '@fastify/cors'
import helmet from 'helmet'
import { isIP } from 'node:net'
import { BasinError } from '../../errors.js'
import type { App } from '../application.js'

export interface OriginPolicy {
  /** Names that requests may call the server by; `*`: any; absent: private ones, and any with keys. */
  readonly hosts?: readonly string[]
  /** Whose pages may ask, such as `https://chat.example`; `*`: all. */
  readonly origins?: readonly string[]
}

/** They tell an orchestrator, which calls by address, that the process lives: nothing else. */
export const open: readonly (string | undefined)[] = ['/health', '/ready']

/** Last labels that no public name has. */
const PRIVATE = ['internal', 'local', 'localhost', 'svc', 'test']

/** Of `Host` or an origin, without the port; undefined where it is none. */
function nameIn(authority: string): string | undefined {
  const url = URL.canParse(`http://${authority}`) ? new URL(`http://${authority}`) : undefined
  return url?.hostname.replace(/^\[|\]$|\.$/g, '')
}

/** An address, a single label, or a name below one that is never delegated. */
export function isPrivate(name: string): boolean {
  if (isIP(name) > 0) return true
  const labels = name.split('.')
  return labels.length === 1 || PRIVATE.includes(labels.at(-1) ?? '')
}

/** Whether the server goes by what `Host` says. */
export function answersTo(host: string | undefined, hosts: readonly string[] | undefined): boolean {
  if (hosts?.includes('*')) return true
  const name = nameIn(host ?? '')
  if (name === undefined) return false
  return hosts ? hosts.includes(name) : isPrivate(name)
}

/** The same as long as one name is asked for: most clients know no other. */
function remembered(hosts: readonly string[] | undefined): (host: string | undefined) => boolean {
  let last: { host: string | undefined; answers: boolean } | undefined
  return (host) => {
    if (!last || last.host !== host) last = { host, answers: answersTo(host, hosts) }
    return last.answers
  }
}

/** Whether a page of this origin may ask a server that is called `host`. */
export function admits(
  origin: string,
  host: string | undefined,
  origins: readonly string[] = [],
): boolean {
  if (origins.includes('*') || origins.includes(origin)) return true
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}

/** `keyed`: a stranger's page has no key, so any name will do. */
export async function guardDoors(app: App, doors: OriginPolicy, keyed: boolean): Promise<void> {
  const goesBy = remembered(doors.hosts ?? (keyed ? ['*'] : undefined))
  app.addHook('onRequest', ({ headers: { host, origin }, routeOptions }, _, done) => {
    const named = open.includes(routeOptions.url) || goesBy(host)
    const admitted = origin === undefined || admits(origin, host, doors.origins)
    const reason = named
      ? 'Pages of that origin may not ask this server'
      : 'This server does not go by that name'
    done(named && admitted ? undefined : new BasinError('forbidden', { reason }))
  })
  // @fastify/helmet would put this together anew for every request.
  const wear = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    // Whoever ends TLS in front of this server says whether it is always there.
    strictTransportSecurity: false,
  })
  app.addHook('onRequest', (request, reply, done) => {
    wear(request.raw, reply.raw, (error) => {
      done(error instanceof Error ? error : undefined)
    })
  })
  if (!doors.origins) return
  await app.register(cors, {
    origin: doors.origins.includes('*') ? '*' : [...doors.origins],
    methods: ['GET', 'POST', 'DELETE'],
    exposedHeaders: [
      ...['retry-after', 'x-request-id', 'x-completion-id'],
      ...['limit', 'remaining', 'reset'].flatMap((which) =>
        ['requests', 'tokens', 'steps'].map((kind) => `x-ratelimit-${which}-${kind}`),
      ),
    ],
    maxAge: 600,
  })
}

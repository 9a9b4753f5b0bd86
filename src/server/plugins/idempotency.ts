/**
 * `Idempotency-Key`: a request that is sent twice is done once. Successful replies are remembered, in
 * the memory of this process, by who asked, what for, and the key; a second request waits for the first
 * and gets its reply. What failed is not remembered: trying again is the point.
 */
import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { BasinError } from '../../errors.js'
import type { App } from '../application.js'

interface Saved {
  status: number
  type: string
  body: string
}

interface Entry {
  name: string
  /** Of the request's body. */
  hash: string
  /** Undefined: it failed, and is forgotten. */
  reply: Promise<Saved | undefined>
  settle: (saved: Saved | undefined) => void
  saved: Saved | undefined
  /** In milliseconds of Unix time. */
  began: number
}

const LONGEST_KEY = 255
const DAY = 86_400_000
/** Characters of all replies together. */
const ROOM = 16 * 2 ** 20

class Remembered {
  /** Oldest first. */
  private readonly byName = new Map<string, Entry>()
  private length = 0

  find(name: string): Entry | undefined {
    this.expire()
    return this.byName.get(name)
  }

  begin(name: string, hash: string): Entry {
    let settle: Entry['settle'] = () => undefined
    const reply = new Promise<Saved | undefined>((resolve) => (settle = resolve))
    const entry = { name, hash, reply, settle, saved: undefined, began: Date.now() }
    this.byName.set(name, entry)
    return entry
  }

  /** Undefined: nothing is to be remembered. Only the first word counts. */
  end(entry: Entry, saved: Saved | undefined): void {
    if (entry.saved || this.byName.get(entry.name) !== entry) return
    if (saved) {
      entry.saved = saved
      this.length += saved.body.length
    } else this.byName.delete(entry.name)
    entry.settle(saved)
  }

  private expire(): void {
    const now = Date.now()
    for (const { began, name, saved } of this.byName.values()) {
      if (!saved) continue
      if (now - began < DAY && this.length <= ROOM) return
      this.length -= saved.body.length
      this.byName.delete(name)
    }
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where its reply is to be remembered. */
    remembered: Entry | undefined
  }
}

function keyOf({ body, headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key']
  if (key === undefined) return undefined
  const param = 'idempotency-key'
  if (typeof key !== 'string' || key.length === 0 || key.length > LONGEST_KEY) {
    const reason = `must have 1 to ${LONGEST_KEY} characters`
    throw new BasinError('invalid_request', { param, reason })
  }
  if (typeof body === 'object' && body !== null && 'stream' in body && body.stream === true) {
    const reason =
      'a stream is not sent twice; ask for a background response, and resume its stream'
    throw new BasinError('not_supported', { param, reason })
  }
  return key
}

/** After the hooks that know clients. `owner`: whose a client's work is. */
export function rememberReplies(app: App, owner: (client: string) => string): void {
  const remembered = new Remembered()
  app.decorateRequest('remembered', undefined)
  app.addHook('preHandler', async (request, reply) => {
    const key = request.method === 'POST' ? keyOf(request) : undefined
    if (key === undefined) return
    const name = JSON.stringify([owner(request.client), request.url, key])
    const hash = createHash('sha256')
      .update(JSON.stringify(request.body ?? null))
      .digest('hex')
    for (let entry = remembered.find(name); entry; entry = remembered.find(name)) {
      if (entry.hash !== hash)
        throw new BasinError('idempotency_mismatch', { param: 'idempotency-key' })
      const saved = await entry.reply
      if (!saved) continue
      void reply.header('idempotent-replayed', 'true').code(saved.status).type(saved.type)
      return reply.send(saved.body)
    }
    const entry = remembered.begin(name, hash)
    request.remembered = entry
    // Whatever happens to it, nobody waits for ever.
    reply.raw.once('close', () => {
      remembered.end(entry, undefined)
    })
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const { statusCode: status } = reply
    if (!request.remembered) return
    const done = status >= 200 && status < 300 && typeof payload === 'string'
    const type = String(reply.getHeader('content-type') ?? 'application/json')
    remembered.end(request.remembered, done ? { status, type, body: payload } : undefined)
  })
}

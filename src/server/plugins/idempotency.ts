/**
 * `Idempotency-Key`: the second of two requests with one key waits for the first and gets its reply.
 * Successful replies are kept in the memory of this process, by the client, the URL and the key, and where
 * servers share replies for all of them. Failures are not kept, so that a client can try again.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { BasinError } from '../../errors.js'
import type { SharedReplies } from '../../jobs/shared-jobs.js'
import { whenReplyEnds } from '../pending-replies.js'

interface SavedReply {
  status: number
  type: string
  body: string
}

interface Entry {
  name: string
  /** Of the request's body. */
  hash: string
  /** Undefined: the request failed, and the entry is gone. */
  reply: Promise<SavedReply | undefined>
  settle: (saved: SavedReply | undefined) => void
  saved: SavedReply | undefined
  /** Milliseconds of Unix time. */
  began: number
  /** By which other servers know that it runs here. */
  claim: string | undefined
}

const LONGEST_KEY = 255
const KEPT_MS = 86_400_000
/** Characters of all kept replies together; beyond them the oldest go. */
const MOST_CHARACTERS = 16 * 2 ** 20

class ReplyCache {
  /** Oldest first. */
  private readonly byName = new Map<string, Entry>()
  private characters = 0

  find(name: string): Entry | undefined {
    this.expire()
    return this.byName.get(name)
  }

  begin(name: string, hash: string): Entry {
    let settle: Entry['settle'] = () => undefined
    const reply = new Promise<SavedReply | undefined>((resolve) => (settle = resolve))
    const began = Date.now()
    const entry = { name, hash, reply, settle, saved: undefined, began, claim: undefined }
    this.byName.set(name, entry)
    return entry
  }

  /** Keeps `saved`, or forgets the entry where it is undefined. Later calls for the entry do nothing. */
  end(entry: Entry, saved: SavedReply | undefined): void {
    if (entry.saved || this.byName.get(entry.name) !== entry) return
    if (saved) {
      entry.saved = saved
      this.characters += saved.body.length
    } else this.byName.delete(entry.name)
    entry.settle(saved)
  }

  private expire(): void {
    const now = Date.now()
    for (const { began, name, saved } of this.byName.values()) {
      if (!saved) continue
      if (now - began < KEPT_MS && this.characters <= MOST_CHARACTERS) return
      this.characters -= saved.body.length
      this.byName.delete(name)
    }
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where its reply is to be kept. */
    idempotencyEntry: Entry | undefined
  }
}

function replay(reply: FastifyReply, { body, status, type }: SavedReply): FastifyReply {
  void reply.header('idempotent-replayed', 'true').code(status).type(type)
  return reply.send(body)
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

/** How often the reply of a request that runs on another server is looked for. */
const LOOK_MS = 200

const mismatch = (): BasinError =>
  new BasinError('idempotency_mismatch', { param: 'idempotency-key' })

/** Lets the entry run here, or resolves with the reply that another server has given or will give. */
async function claimed(shared: SharedReplies, entry: Entry): Promise<SavedReply | undefined> {
  for (;;) {
    const found = await shared.claim(entry.name, entry.hash)
    if (found.state === 'mine') {
      entry.claim = found.claim
      return undefined
    }
    if (found.hash !== entry.hash) throw mismatch()
    if (found.state === 'kept') return JSON.parse(found.reply) as SavedReply
    await sleep(LOOK_MS)
  }
}

/** `shared`: absent where this server shares no replies with others. */
export const idempotency = fp<{ shared: SharedReplies | undefined }>(
  (app, { shared }, done) => {
    const cache = new ReplyCache()
    app.decorateRequest('idempotencyEntry', undefined)
    app.addHook('preHandler', async (request, reply) => {
      const key = request.method === 'POST' ? keyOf(request) : undefined
      if (key === undefined) return
      const name = JSON.stringify([request.owner, request.url, key])
      const hash = createHash('sha256')
        .update(JSON.stringify(request.body ?? null))
        .digest('hex')
      for (let entry = cache.find(name); entry; entry = cache.find(name)) {
        if (entry.hash !== hash) throw mismatch()
        const saved = await entry.reply
        if (saved) return replay(reply, saved)
      }
      const entry = cache.begin(name, hash)
      request.idempotencyEntry = entry
      // Whatever becomes of this request, those that wait for it go on.
      whenReplyEnds(reply.raw, () => {
        void end(request, entry, undefined)
      })
      const saved = shared && (await claimed(shared, entry))
      // The client may have left meanwhile.
      if (reply.raw.destroyed) await end(request, entry, undefined)
      if (!saved) return
      cache.end(entry, saved)
      return replay(reply, saved)
    })
    /** Other servers are told first: a client that has the reply may ask any of them. */
    const end = async (request: FastifyRequest, entry: Entry, saved: SavedReply | undefined) => {
      const { claim, name } = entry
      entry.claim = undefined
      try {
        if (claim !== undefined && saved)
          await shared?.keep(name, claim, JSON.stringify(saved), KEPT_MS)
        else if (claim !== undefined) await shared?.forget(name, claim)
      } catch (error) {
        // The claim runs out; until then a request with the key waits.
        request.log.warn({ err: error }, 'other servers could not be told of a reply')
      }
      cache.end(entry, saved)
    }
    app.addHook('onSend', async (request, reply, payload) => {
      const { statusCode: status } = reply
      const { idempotencyEntry: entry } = request
      if (!entry) return
      const succeeded = status >= 200 && status < 300 && typeof payload === 'string'
      const type = String(reply.getHeader('content-type') ?? 'application/json')
      await end(request, entry, succeeded ? { status, type, body: payload } : undefined)
    })
    done()
  },
  { name: 'idempotency', dependencies: ['auth'] },
)

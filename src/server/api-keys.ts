/**
 * API keys and the file that lists them. The file holds names and hashes and no key: keys are random and
 * long, so one round of SHA-256 hides them. A comparison takes the same time whatever key is presented.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { BasinError } from '../errors.js'

const KeyFile = Type.Object(
  {
    keys: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: 64 }),
          sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
          admin: Type.Optional(Type.Boolean()),
        },
        { additionalProperties: false },
      ),
      { maxItems: 10_000 },
    ),
  },
  { additionalProperties: false },
)
type KeyFile = Static<typeof KeyFile>

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest()

function readKeyFile(path: string): KeyFile {
  const fail = (reason: string, cause?: unknown) =>
    new BasinError('invalid_data', { path, reason }, { cause })
  if (!existsSync(path))
    throw fail(`there is no such file; basin keys add NAME --file ${path} makes it, with a key`)
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw fail('is not JSON', cause)
  }
  if (Value.Check(KeyFile, json)) return json
  throw fail('is not a file of keys: {keys: [{name, sha256}]}')
}

/** Whose key a request carries. */
export interface KeyHolder {
  name: string
  /** May load and unload models. */
  admin: boolean
}

interface KeyEntry {
  holder: KeyHolder
  hash: Buffer
}

const entriesOf = ({ keys }: KeyFile): KeyEntry[] =>
  keys.map(({ admin = false, name, sha256 }) => ({
    holder: { name, admin },
    hash: Buffer.from(sha256, 'hex'),
  }))

/** Throws `invalid_data`, also for a file without keys, which would lock everybody out. */
function readUsableFile(path: string): KeyFile {
  const file = readKeyFile(path)
  if (file.keys.length > 0) return file
  throw new BasinError('invalid_data', { path, reason: 'holds no key' })
}

export class ApiKeys {
  private entries: KeyEntry[]

  constructor(file: KeyFile) {
    this.entries = entriesOf(file)
  }

  /** Throws `invalid_data`, also for a file without keys. */
  static open(path: string): ApiKeys {
    return new ApiKeys(readUsableFile(path))
  }

  /** From now on the keys of this file hold, and no others; returns how many. Throws as `open` does. */
  reload(path: string): number {
    this.entries = entriesOf(readUsableFile(path))
    return this.entries.length
  }

  /** Whose key a request carries. `page`: as browsers send it by themselves, too. Throws `unauthorized`. */
  identify(headers: IncomingHttpHeaders, page = false): KeyHolder {
    const key = presented(headers) ?? (page ? passwordIn(headers) : undefined)
    const hash = hashOf(key ?? '')
    let found: KeyHolder | undefined
    for (const entry of this.entries) if (timingSafeEqual(hash, entry.hash)) found = entry.holder
    if (found === undefined) throw new BasinError('unauthorized')
    return found
  }
}

/** Begins the subprotocol by which a socket brings its key. */
const KEY_PROTOCOL = 'basin-key.'

/**
 * `Authorization: Bearer` as OpenAI's clients send it, or `X-Api-Key`. The sockets of browsers can set
 * neither: they offer the key as a subprotocol after `basin`, which is the one that the server takes.
 */
function presented(headers: IncomingHttpHeaders): string | undefined {
  const { authorization, 'sec-websocket-protocol': protocols, 'x-api-key': own } = headers
  if (typeof own === 'string') return own
  const bearer = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  const offered = protocols?.split(',').map((protocol) => protocol.trim())
  return (
    bearer ?? offered?.find((name) => name.startsWith(KEY_PROTOCOL))?.slice(KEY_PROTOCOL.length)
  )
}

/**
 * The password of HTTP's basic authentication, with any user name. A browser sends it with every request to this
 * server once it has asked for it, other pages' requests included, so only pages that change nothing take it.
 */
function passwordIn({ authorization }: IncomingHttpHeaders): string | undefined {
  const pair = /^Basic +(\S+) *$/i.exec(authorization ?? '')?.[1] ?? ''
  return /^[^:]*:(.*)$/s.exec(Buffer.from(pair, 'base64').toString())?.[1]
}

/** Adds a new key to a file, which may not exist yet. Returns the key, which is written nowhere. */
export function addKey(path: string, name: string, admin = false): string {
  const { keys } = existsSync(path) ? readKeyFile(path) : { keys: [] }
  if (keys.some((key) => key.name === name)) {
    throw new BasinError('invalid_data', { path, reason: `has a key named ${name} already` })
  }
  const key = `basin_${randomBytes(24).toString('base64url')}`
  const added = { name, sha256: hashOf(key).toString('hex'), ...(admin && { admin }) }
  const file = { keys: [...keys, added] }
  writeKeyFile(path, file)
  return key
}

/** Whole or not at all, since a server may read it meanwhile. */
function writeKeyFile(path: string, file: KeyFile): void {
  const fresh = `${path}.${process.pid}`
  writeFileSync(fresh, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 })
  renameSync(fresh, path)
}

/** The holders of the keys of a file, in their order. */
export const keyHolders = (path: string): KeyHolder[] =>
  entriesOf(readKeyFile(path)).map(({ holder }) => holder)

/** Takes the key of a name out of a file. Throws `invalid_data` where there is none. */
export function revokeKey(path: string, name: string): void {
  const { keys } = readKeyFile(path)
  const left = keys.filter((key) => key.name !== name)
  if (left.length === keys.length) {
    const names = keys.map((key) => key.name).join(', ')
    throw new BasinError('invalid_data', {
      path,
      reason: `has no key named ${name}; it has ${names}`,
    })
  }
  writeKeyFile(path, { keys: left })
}

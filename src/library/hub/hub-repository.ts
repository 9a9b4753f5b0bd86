/**
 * A repository of models on a Hugging Face style hub, or on a mirror of one: which files it has, and what they
 * must be. A mirror without the hub's API lists its files in SHA256SUMS.
 */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { BasinError } from '../../errors.js'

export interface HubSource {
  /** Of the hub, without a slash at the end. */
  endpoint: string
  /** `ORG/NAME`. */
  repository: string
  revision: string
}

/** How a file is checked: its SHA-256, or git's SHA-1 of its content. */
export type Checksum = { sha256: string } | { gitBlob: string }

export interface HubFile {
  name: string
  url: string
  /** In bytes; absent where the mirror does not say. */
  size?: number
  checksum: Checksum
}

export type Headers = Readonly<Record<string, string>>

const LIST_TIMEOUT_MS = 30_000
const MAX_LIST_BYTES = 16 * 2 ** 20
const MAX_FILES = 10_000

const Listing = Compile(
  Type.Object({
    sha: Type.Optional(Type.String({ pattern: '^[0-9a-f]{40,64}$' })),
    siblings: Type.Array(
      Type.Object({
        rfilename: Type.String(),
        size: Type.Optional(Type.Integer({ minimum: 0 })),
        blobId: Type.Optional(Type.String({ pattern: '^[0-9a-f]{40}$' })),
        lfs: Type.Optional(
          Type.Union([
            Type.Object({
              sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
              size: Type.Integer({ minimum: 0 }),
            }),
            Type.Null(),
          ]),
        ),
      }),
      { maxItems: MAX_FILES },
    ),
  }),
)

/**
 * From `ORG/NAME`, or from the URL of a repository, which may end in `/tree/REVISION`. Throws `invalid_data` for
 * anything else.
 */
export function hubSource(text: string, endpoint: string, revision: string | undefined): HubSource {
  const url = /^(https?:\/\/.+?)\/([\w.-]+\/[\w.-]+)(?:\/tree\/([\w./-]+))?\/?$/.exec(text)
  const [place, repository, inUrl] = url
    ? [url[1], url[2], url[3]]
    : [endpoint, /^[\w.-]+\/[\w.-]+$/.exec(text)?.[0], undefined]
  if (repository?.split('/').some((part) => /^\.+$/.test(part)) === false)
    return {
      endpoint: (place ?? endpoint).replace(/\/+$/, ''),
      repository,
      revision: revision ?? inUrl ?? 'main',
    }
  const reason =
    'it must be ORG/NAME, or the URL of a repository such as https://huggingface.co/ORG/NAME'
  throw new BasinError('invalid_data', { path: text, reason })
}

const sumsFile = 'SHA256SUMS'

/** The files at the top of the repository. Throws `invalid_data` where the list is not to be trusted. */
export async function hubFiles(source: HubSource, headers: Headers): Promise<HubFile[]> {
  const { endpoint, repository, revision } = source
  const path = `/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`
  const listing = await textAt(endpoint + path, headers)
  if (listing === undefined) {
    const sums = await textAt(fileUrl(source, revision, sumsFile), headers)
    if (sums !== undefined) return filesOfSums(source, sums)
    const reason = `there is no ${repository} at revision ${revision}, neither in the API nor as files with a ${sumsFile}`
    throw new BasinError('invalid_data', { path: endpoint, reason })
  }
  const json = parsed(listing, endpoint + path)
  // Whatever the name means later, all files are of one commit.
  const commit = json.sha ?? revision
  const names = json.siblings.map(({ rfilename }) => rfilename)
  names.forEach((name) => {
    checkName(name, endpoint)
  })
  const sums = names.includes(sumsFile)
    ? sumsOf((await textAt(fileUrl(source, commit, sumsFile), headers)) ?? '', endpoint)
    : new Map<string, string>()
  return json.siblings
    .filter(({ rfilename }) => !rfilename.includes('/'))
    .flatMap(({ blobId, lfs, rfilename: name, size }) => {
      const sha256 = lfs?.sha256 ?? sums.get(name)
      const bytes = lfs?.size ?? size
      if (sha256 === undefined && blobId === undefined) return []
      const checksum = sha256 === undefined ? { gitBlob: blobId ?? '' } : { sha256 }
      const url = fileUrl(source, commit, name)
      return [{ name, url, checksum, ...(bytes !== undefined && { size: bytes }) }]
    })
}

const fileUrl = ({ endpoint, repository }: HubSource, revision: string, name: string): string =>
  `${endpoint}/${repository}/resolve/${encodeURIComponent(revision)}/${encodeURIComponent(name)}`

function filesOfSums(source: HubSource, text: string): HubFile[] {
  return [...sumsOf(text, source.endpoint)]
    .filter(([name]) => !name.includes('/'))
    .map(([name, sha256]) => ({
      name,
      url: fileUrl(source, source.revision, name),
      checksum: { sha256 },
    }))
}

/** By name. A line is the SHA-256, two spaces (or a space and `*`), and a name, as `sha256sum` writes it. */
function sumsOf(text: string, path: string): Map<string, string> {
  const sums = new Map<string, string>()
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const [, sum, name] = /^([0-9a-f]{64}) [ *](?:\.\/)?(.+?)\r?$/.exec(line) ?? []
    if (sum === undefined || name === undefined)
      throw new BasinError('invalid_data', {
        path,
        reason: `${sumsFile} has a line that is none: ${line.slice(0, 80)}`,
      })
    checkName(name, path)
    sums.set(name, sum)
  }
  return sums
}

/** A name becomes a path here: one that leaves its directory ends the download. */
function checkName(name: string, path: string): void {
  const parts = name.split('/')
  const safe = parts.every(
    (part) => part !== '' && !/^\.+$/.test(part) && !/[\\\p{Cc}:]/u.test(part),
  )
  if (safe && name.length <= 255) return
  const reason = `it lists a file with the name ${JSON.stringify(name.slice(0, 80))}, which is no plain path`
  throw new BasinError('invalid_data', { path, reason })
}

function parsed(text: string, path: string) {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new BasinError('invalid_data', { path, reason: 'the reply is not JSON' }, { cause })
  }
  if (Listing.Check(json)) return json
  throw new BasinError('invalid_data', { path, reason: 'the reply is no list of files' })
}

/** Undefined where there is none. Throws `invalid_data` where it cannot be had. */
async function textAt(url: string, headers: Headers): Promise<string | undefined> {
  let reply: Response
  try {
    reply = await fetch(url, { headers, signal: AbortSignal.timeout(LIST_TIMEOUT_MS) })
  } catch (cause) {
    throw unreachable(url, cause)
  }
  if (reply.status === 404) return undefined
  if (!reply.ok) throw refusedBy(url, reply.status)
  const text = await reply.text()
  if (text.length <= MAX_LIST_BYTES) return text
  throw new BasinError('invalid_data', { path: url, reason: 'the reply is too long' })
}

export function refusedBy(url: string, status: number): BasinError {
  const key = status === 401 || status === 403 ? '; it may need --token, or HF_TOKEN' : ''
  return new BasinError('invalid_data', { path: url, reason: `the server replied ${status}${key}` })
}

export function unreachable(url: string, cause: unknown): BasinError {
  const { cause: deeper, message } = cause as Error
  const reason = deeper instanceof Error ? deeper.message : message
  return new BasinError('invalid_data', { path: url, reason }, { cause })
}

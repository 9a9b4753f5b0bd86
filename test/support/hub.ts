/** A server that behaves like a hub of models: its API, redirects to where the files are, ranges, and faults. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const COMMIT = '0123456789abcdef0123456789abcdef01234567'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const gitBlob = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

export class Hub {
  url = ''
  /** The paths of all requests, with their ranges. */
  readonly requests: string[] = []
  /** Connections that break after so many bytes of a file, by its name; each breaks once. */
  readonly breaks = new Map<string, number>()
  /** Bytes that are sent in place of the file's. */
  readonly damaged = new Map<string, Buffer>()
  /** Names that the list has besides. */
  readonly listed: string[] = []
  /** Without it there is only SHA256SUMS. */
  api = true
  token: string | undefined
  private readonly server = createServer((request, reply) => {
    this.answer(request, reply)
  })

  /** `files`: of `org/name`, by their names. */
  private constructor(readonly files: ReadonlyMap<string, Buffer>) {}

  static async start(files: ReadonlyMap<string, Buffer>): Promise<Hub> {
    const hub = new Hub(files)
    hub.server.listen(0, '127.0.0.1')
    await once(hub.server, 'listening')
    hub.url = `http://127.0.0.1:${(hub.server.address() as AddressInfo).port}`
    return hub
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    this.server.close()
    await once(this.server, 'close')
  }

  private answer({ headers, url = '' }: IncomingMessage, reply: ServerResponse): void {
    const { range = '' } = headers
    this.requests.push(`${url} ${range}`.trim())
    if (this.token !== undefined && headers.authorization !== `Bearer ${this.token}`) {
      reply.writeHead(401).end()
      return
    }
    const path = decodeURIComponent(url.split('?')[0] ?? '')
    const [, revision, name = ''] = /^\/org\/name\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? []
    if (this.api && path === '/api/models/org/name/revision/main') this.list(reply)
    else if (!this.api && revision === 'main' && name === 'SHA256SUMS') reply.end(this.sums())
    else if (revision !== undefined && this.files.has(name))
      reply.writeHead(302, { location: `/cdn/${name}` }).end()
    else if (path.startsWith('/cdn/')) this.send(path.slice(5), range, reply)
    else reply.writeHead(404).end()
  }

  private list(reply: ServerResponse): void {
    const siblings = [...this.files].map(([rfilename, bytes]) => ({
      rfilename,
      size: bytes.length,
      blobId: gitBlob(bytes),
      ...(bytes.length > 1000 && { lfs: { sha256: sha256(bytes), size: bytes.length } }),
    }))
    const others = this.listed.map((rfilename) => ({ rfilename, size: 1, blobId: COMMIT }))
    reply.setHeader('content-type', 'application/json')
    reply.end(JSON.stringify({ sha: COMMIT, siblings: [...siblings, ...others] }))
  }

  private sums(): string {
    const lines = [...this.files].map(([name, bytes]) => `${sha256(bytes)}  ${name}`)
    return [...lines, ...this.listed.map((name) => `${'0'.repeat(64)}  ${name}`), ''].join('\n')
  }

  private send(name: string, range: string, reply: ServerResponse): void {
    const bytes = this.damaged.get(name) ?? this.files.get(name) ?? Buffer.alloc(0)
    const from = Number(/^bytes=(\d+)-$/.exec(range)?.[1] ?? 0)
    const rest = bytes.subarray(from)
    const status = range === '' ? 200 : 206
    reply.writeHead(status, {
      etag: `"${sha256(bytes)}"`,
      'content-length': rest.length,
      ...(status === 206 && {
        'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
      }),
    })
    const broken = this.breaks.get(name)
    if (broken === undefined) {
      reply.end(rest)
      return
    }
    this.breaks.delete(name)
    reply.write(rest.subarray(0, broken), () => reply.destroy())
  }
}

/** A collector of traces: it accepts OTLP in JSON over HTTP, and keeps all of it. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

type Value = { stringValue: string } | { intValue: number } | { doubleValue: number } | object

export interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  /** Nanoseconds of Unix time. */
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: { key: string; value: Value }[]
  status: { code?: number; message?: string }
}

interface Export {
  resourceSpans: {
    resource: { attributes: Span['attributes'] }
    scopeSpans: { spans: Span[] }[]
  }[]
}

/** The attributes of a span by their names, without their types. */
export const attributesOf = ({ attributes }: Pick<Span, 'attributes'>): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0] as unknown]))

export class Collector {
  readonly received: { url: string; headers: IncomingHttpHeaders; body: string }[] = []
  private constructor(private readonly server: Server) {}

  static async start(): Promise<Collector> {
    const server = createServer()
    const collector = new Collector(server)
    server.on('request', (request, reply) => {
      void text(request).then((body) => {
        const { headers, url = '' } = request
        collector.received.push({ url, headers, body })
        reply.setHeader('content-type', 'application/json').end('{}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return collector
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  private get exports(): Export['resourceSpans'] {
    return this.received.flatMap(({ body }) => (JSON.parse(body) as Export).resourceSpans)
  }

  get resource(): Record<string, unknown> {
    return Object.assign(
      {},
      ...this.exports.map(({ resource }) => attributesOf(resource)),
    ) as Record<string, unknown>
  }

  get spans(): Span[] {
    return this.exports.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
  }

  close(): void {
    this.server.close()
    this.server.closeAllConnections()
  }
}

/** Where traces go: OTLP over HTTP, in batches. What it needs is loaded only when it is asked for. */
import { defaultTextMapGetter, diag, DiagLogLevel, ROOT_CONTEXT } from '@opentelemetry/api'
import type { FastifyBaseLogger } from 'fastify'
import { BasinError } from '../../errors.js'
import type { Tracing } from '../../server/tracing.js'
import { version } from '../package.js'

/** Most that sending one batch may take: it may be the last one, while the server goes down. */
const EXPORT_TIMEOUT_MS = 3000

/** `endpoint`: of a collector, such as `http://localhost:4318`. Throws `invalid_data`. */
export async function openTracing(endpoint: string, log: FastifyBaseLogger): Promise<Tracing> {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (!url?.protocol.startsWith('http')) {
    const facts = { path: endpoint, reason: 'is not the URL of a collector' }
    throw new BasinError('invalid_data', facts)
  }
  const [{ W3CTraceContextPropagator }, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
    import('@opentelemetry/core'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace'),
  ])
  diag.setLogger(diagnosticsTo(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`
  const own = { 'service.name': 'basin', 'service.version': version }
  const said = resources.detectResources({ detectors: [resources.envDetector] })
  const exporter = new OTLPTraceExporter({ url: url.href, timeoutMillis: EXPORT_TIMEOUT_MS })
  const provider = new sdk.TracerProvider({
    resource: resources.defaultResource().merge(resources.resourceFromAttributes(own)).merge(said),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter })],
  })
  const propagator = new W3CTraceContextPropagator()
  return {
    tracer: provider.getTracer('basin', version),
    parentOf: (headers) => propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter),
    close: () =>
      provider.shutdown().catch((error: unknown) => {
        log.warn({ err: error }, 'traces: the last ones are lost')
      }),
  }
}

/** What OpenTelemetry has to say against its collector. */
function diagnosticsTo(log: FastifyBaseLogger) {
  const warn = (message: string) => {
    log.warn(`traces: ${message}`)
  }
  const quiet = () => undefined
  return { error: warn, warn, info: quiet, debug: quiet, verbose: quiet }
}

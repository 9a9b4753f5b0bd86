/** Exports traces by OTLP over HTTP, in batches. The OpenTelemetry SDK is loaded only if it is needed. */
import { defaultTextMapGetter, diag, DiagLogLevel, ROOT_CONTEXT } from '@opentelemetry/api'
import type { FastifyBaseLogger } from 'fastify'
import { BasinError } from '../../errors.js'
import type { Tracing } from '../../server/requests/request-trace.js'
import { version } from '../../library/package.js'

/** Limit for sending one batch. It delays the end of the server, which sends the last batch. */
const EXPORT_TIMEOUT_MS = 3000

/** `endpoint` is the URL of a collector, such as `http://localhost:4318`. Throws `invalid_data`. */
export async function openTracing(endpoint: string, log: FastifyBaseLogger): Promise<Tracing> {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (!url?.protocol.startsWith('http')) {
    throw new BasinError('invalid_data', {
      path: endpoint,
      reason: 'is not the URL of a collector, such as http://localhost:4318',
    })
  }
  const [{ W3CTraceContextPropagator }, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
    import('@opentelemetry/core'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace'),
  ])
  diag.setLogger(diagnosticsTo(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`
  const service = resources.resourceFromAttributes({
    'service.name': 'basin',
    'service.version': version,
  })
  const fromEnvironment = resources.detectResources({ detectors: [resources.envDetector] })
  const exporter = new OTLPTraceExporter({ url: url.href, timeoutMillis: EXPORT_TIMEOUT_MS })
  const provider = new sdk.TracerProvider({
    resource: resources.defaultResource().merge(service).merge(fromEnvironment),
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

/** Sends the warnings and errors of the OpenTelemetry SDK to the server's log. */
function diagnosticsTo(log: FastifyBaseLogger) {
  const warn = (message: string) => {
    log.warn(`traces: ${message}`)
  }
  const ignore = () => undefined
  return { error: warn, warn, info: ignore, debug: ignore, verbose: ignore }
}

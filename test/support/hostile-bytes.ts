/** Bytes that resemble HTTP requests and have faults: lines, lengths, separators and single bytes. */
import { pick, type Random } from './arbitrary.js'
import { getText, postText } from './raw-client.js'

const heads = [
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Content-Length: 5, 6',
  'Content-Length: 0x10',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding : chunked',
  'Host: other',
  'Host: a b',
  'Host:',
  'Upgrade: h2c',
  'Upgrade: websocket',
  'Connection: Upgrade, HTTP2-Settings',
  'Connection: close, close',
  'Expect: 100-continue',
  'Expect: the-unexpected',
  'Content-Type: application/json; charset=utf-16',
  'Content-Type: multipart/form-data; boundary=x',
  'Content-Encoding: gzip',
  'Accept-Encoding: br;q=2',
  'Authorization: Bearer ' + 'a'.repeat(9000),
  'X-Long: ' + 'b'.repeat(20_000),
  ' folded: yes',
  'no colon at all',
  'Null\u0000: 1',
  'Cookie: \u00ff\u00fe',
  'Origin: null',
  'Range: bytes=0-18446744073709551615',
  'If-None-Match: *',
  'Idempotency-Key: ' + 'k'.repeat(300),
  'traceparent: 00-zz-zz-00',
  'X-Forwarded-For: 1.2.3.4',
]

const firstLines = [
  'GET /../../../etc/passwd HTTP/1.1',
  'GET //evil.example/v1/models HTTP/1.1',
  'GET http://evil.example/v1/models HTTP/1.1',
  'GET /v1/models HTTP/1.0',
  'GET /v1/models HTTP/9.9',
  'GET /v1/models',
  'PRI * HTTP/2.0',
  'OPTIONS * HTTP/1.1',
  'CONNECT localhost:80 HTTP/1.1',
  'TRACE / HTTP/1.1',
  'BREW /pot HTTP/1.1',
  'get /v1/models HTTP/1.1',
  'GET /v1/models/%ff%fe HTTP/1.1',
  'GET /v1/models/%zz HTTP/1.1',
  'GET /docs/static/..%2f..%2fx HTTP/1.1',
  `GET /v1/${'x'.repeat(20_000)} HTTP/1.1`,
  'GET /v1/models?a[]=1&a[b]=2&__proto__=3 HTTP/1.1',
  'POST /v1/refine HTTP/1.1',
  'HEAD /v1/completions HTTP/1.1',
]

const paths = ['/v1/completions', '/v1/tokenize', '/v1/responses', '/v1/score', '/v1/embeddings']
const bodies = [{ text: 'a' }, { prompt: 'once', max_tokens: 1 }, { input: 'a' }, {}]

/** A whole request of a client with this key, with one to three faults. */
export function hostileRequest(key: string, random: Random): Buffer {
  const about = [`X-Api-Key: ${key}`, 'Connection: close']
  const whole =
    random() < 0.3
      ? getText(pick(random, ['/v1/models', '/health', '/v1/refine', '/docs/', '/']), ...about)
      : postText(pick(random, paths), pick(random, bodies), ...about)
  let bytes: Buffer = Buffer.from(whole, 'latin1')
  const faults = 1 + Math.floor(random() * 3)
  for (let i = 0; i < faults; i++) bytes = withFault(bytes, random)
  return bytes
}

function withFault(bytes: Buffer, random: Random): Buffer {
  const at = Math.floor(random() * bytes.length)
  const text = bytes.toString('latin1')
  const first = text.indexOf('\r\n')
  const latin1 = (changed: string) => Buffer.from(changed, 'latin1')
  return pick<() => Buffer>(random, [
    () => latin1(`${text.slice(0, first)}\r\n${pick(random, heads)}${text.slice(first)}`),
    () => latin1(pick(random, firstLines) + text.slice(first)),
    () => Buffer.concat([bytes.subarray(0, at), Buffer.of(random() * 256), bytes.subarray(at + 1)]),
    () =>
      Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + Math.floor(random() * 20))]),
    () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at / 2)]),
    () => latin1(text.replaceAll('\r\n', pick(random, ['\n', '\r', '\r\n\r\n', '\r\n ']))),
    () => Buffer.concat([bytes, bytes]),
    () => Buffer.from(Array.from({ length: 1 + at }, () => Math.floor(random() * 256))),
  ])()
}

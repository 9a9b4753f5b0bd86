/**
 * A client of Basin's HTTP API and of its socket, for Node, Deno, Bun and browsers. It needs `fetch`, and
 * for the socket a `WebSocket`, both of which all of them have (Node from 22 on; for Node 20 pass that of
 * the package `ws`).
 */
import { disconnected, errorFrom } from './client-error.js'
import { dataOf } from './event-data.js'
import { RefinementSocket, type SocketLike } from './refinement-socket.js'
import type {
  ChatChunk,
  ChatCompletion,
  ChatRequest,
  Completion,
  CompletionChunk,
  CompletionRequest,
  EmbeddingRequest,
  Embeddings,
  Extension,
  Landscape,
  LandscapeRequest,
  ModelInfo,
  RefineRequest,
  Reranked,
  RerankRequest,
  ResponseEvent,
  ResponseRequest,
  ResponseState,
  ScoreRequest,
  Scores,
  SteeredRequest,
  StoredResponse,
  StreamOptions,
} from './types.js'

export interface ClientOptions {
  /** Of the server, with the prefix that it is mounted at. Default: `http://127.0.0.1:8000`. */
  url?: string
  /** An API key, if the server has keys. */
  key?: string
  /** In place of the global one. */
  fetch?: typeof fetch
  /** In place of the global one. */
  WebSocket?: new (url: string, protocols?: string[]) => SocketLike
  /** How often a stream of a stored response is connected again without a new event. Default: 5. */
  reconnects?: number
}

export interface CallOptions {
  signal?: AbortSignal
}

/** Before the first attempt to connect again; it doubles with each. */
const FIRST_PAUSE_MS = 100

export class BasinClient {
  private readonly url: string
  private readonly headers: Record<string, string>

  constructor(private readonly options: ClientOptions = {}) {
    this.url = (options.url ?? 'http://127.0.0.1:8000').replace(/\/+$/, '')
    this.headers = options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }
  }

  async models(options?: CallOptions): Promise<ModelInfo[]> {
    const list = await this.get<{ data: ModelInfo[] }>('/v1/models', options)
    return list.data
  }

  complete(request: CompletionRequest, options?: CallOptions): Promise<Completion> {
    return this.post('/v1/completions', request, options)
  }

  /** Leaving the loop ends the request. */
  streamCompletion(
    request: CompletionRequest & { stream_options?: StreamOptions },
    options?: CallOptions,
  ): AsyncGenerator<CompletionChunk, void> {
    return this.stream('/v1/completions', request, options)
  }

  chat(request: ChatRequest, options?: CallOptions): Promise<ChatCompletion> {
    return this.post('/v1/chat/completions', request, options)
  }

  streamChat(
    request: ChatRequest & { stream_options?: StreamOptions },
    options?: CallOptions,
  ): AsyncGenerator<ChatChunk, void> {
    return this.stream('/v1/chat/completions', request, options)
  }

  /**
   * Ends what runs with the best so far: a completion, a chat or a response, by the id of its chunks or of the
   * response.
   */
  finish(id: string, options?: CallOptions): Promise<SteeredRequest> {
    return this.post(`${pathOf(id)}/finish`, {}, options)
  }

  /** Lets the answer that descends now take so many more steps, or seconds. */
  extend(id: string, by: Extension, options?: CallOptions): Promise<SteeredRequest> {
    return this.post(`${pathOf(id)}/extend`, by, options)
  }

  /** The energy along lines around an answer. */
  landscape(request: LandscapeRequest, options?: CallOptions): Promise<Landscape> {
    return this.post('/v1/landscape', request, options)
  }

  score(request: ScoreRequest, options?: CallOptions): Promise<Scores> {
    return this.post('/v1/score', request, options)
  }

  rerank(request: RerankRequest, options?: CallOptions): Promise<Reranked> {
    return this.post('/v1/rerank', request, options)
  }

  embed(request: EmbeddingRequest, options?: CallOptions): Promise<Embeddings> {
    return this.post('/v1/embeddings', request, options)
  }

  async tokenize(
    request: { model?: string; text: string },
    options?: CallOptions,
  ): Promise<number[]> {
    const reply = await this.post<{ tokens: number[] }>('/v1/tokenize', request, options)
    return reply.tokens
  }

  async detokenize(
    request: { model?: string; tokens: number[] },
    options?: CallOptions,
  ): Promise<string> {
    const reply = await this.post<{ text: string }>('/v1/detokenize', request, options)
    return reply.text
  }

  /** An answer to be watched and steered, over the socket. */
  refine(request: RefineRequest, { signal }: CallOptions = {}): RefinementSocket {
    return new RefinementSocket(() => this.openSocket(), request, signal)
  }

  /** A response, at once; with `background`, queued. */
  respond(request: ResponseRequest, options?: CallOptions): Promise<StoredResponse> {
    return this.post('/v1/responses', request, options)
  }

  /**
   * A response with its events. Where the connection breaks, the client connects again and goes on after
   * the last event that it has, so that each comes once, unless `store` is false. Leaving the loop ends a
   * response that is not in the background.
   */
  async *streamResponse(
    request: ResponseRequest,
    options: CallOptions = {},
  ): AsyncGenerator<ResponseEvent, void> {
    let id: string | undefined
    let last = -1
    const first = await this.fetch('POST', '/v1/responses', options, { ...request, stream: true })
    for await (const event of this.untilBroken(responseEvents(first), options)) {
      if ('response' in event) id = event.response.id
      last = event.sequence_number
      yield event
      if (isLast(event)) return
    }
    if (id === undefined || request.store === false) throw disconnected()
    yield* this.followResponse(id, { ...options, after: last })
  }

  /**
   * The events of a stored response that come after the number `after`, and those that it still brings. It
   * connects again where a connection breaks.
   */
  async *followResponse(
    id: string,
    { after = -1, ...options }: CallOptions & { after?: number } = {},
  ): AsyncGenerator<ResponseEvent, void> {
    const most = this.options.reconnects ?? 5
    let last = after
    for (let failures = 0; ; failures++) {
      const from = last < 0 ? '' : `&starting_after=${last}`
      const path = `/v1/responses/${encodeURIComponent(id)}?stream=true${from}`
      let broken: unknown
      try {
        const reply = await this.fetch('GET', path, options)
        for await (const event of this.untilBroken(responseEvents(reply), options)) {
          failures = 0
          last = event.sequence_number
          yield event
          if (isLast(event)) return
        }
      } catch (error) {
        if (!isConnectionError(error) || options.signal?.aborted) throw error
        broken = error
      }
      if (failures >= most) throw disconnected(broken)
      await pause(FIRST_PAUSE_MS * 2 ** failures, options.signal)
    }
  }

  response(id: string, options?: CallOptions): Promise<StoredResponse> {
    return this.get(`/v1/responses/${encodeURIComponent(id)}`, options)
  }

  /** The response goes on; `respond({ resume_from: state })` goes on from here too, now or later. */
  responseState(id: string, options?: CallOptions): Promise<ResponseState> {
    return this.get(`/v1/responses/${encodeURIComponent(id)}/state`, options)
  }

  cancelResponse(id: string, options?: CallOptions): Promise<StoredResponse> {
    return this.post(`/v1/responses/${encodeURIComponent(id)}/cancel`, {}, options)
  }

  async deleteResponse(id: string, options: CallOptions = {}): Promise<void> {
    const reply = await this.fetch('DELETE', `/v1/responses/${encodeURIComponent(id)}`, options)
    await reply.body?.cancel()
  }

  /** Events until the connection ends, well or not; an abort is thrown. */
  private async *untilBroken(
    events: AsyncGenerator<ResponseEvent, void>,
    { signal }: CallOptions,
  ): AsyncGenerator<ResponseEvent, void> {
    try {
      yield* events
    } catch (error) {
      if (signal?.aborted || !isConnectionError(error)) throw error
    }
  }

  private openSocket(): SocketLike {
    const WebSocket = this.options.WebSocket ?? globalSocket()
    const url = `${this.url.replace(/^http/, 'ws')}/v1/refine`
    const { key } = this.options
    // Sockets of browsers cannot send headers.
    return key === undefined
      ? new WebSocket(url)
      : new WebSocket(url, ['basin', `basin-key.${key}`])
  }

  private async get<T>(path: string, options: CallOptions = {}): Promise<T> {
    const reply = await this.fetch('GET', path, options)
    return (await reply.json()) as T
  }

  private async post<T>(path: string, body: object, options: CallOptions = {}): Promise<T> {
    const reply = await this.fetch('POST', path, options, body)
    return (await reply.json()) as T
  }

  private async *stream<T>(
    path: string,
    body: object,
    options: CallOptions = {},
  ): AsyncGenerator<T, void> {
    const reply = await this.fetch('POST', path, options, { ...body, stream: true })
    for await (const data of dataOf(bodyOf(reply))) {
      if (data === '[DONE]') return
      const chunk = JSON.parse(data) as T | { error: object }
      if (typeof chunk === 'object' && chunk !== null && 'error' in chunk)
        throw errorFrom(chunk, reply.status)
      yield chunk
    }
    throw disconnected()
  }

  private async fetch(
    method: string,
    path: string,
    { signal }: CallOptions,
    body?: object,
  ): Promise<Response> {
    const { fetch = globalThis.fetch } = this.options
    const sent = body && {
      body: JSON.stringify(body),
      headers: { ...this.headers, 'content-type': 'application/json' },
    }
    const reply = await fetch(this.url + path, {
      method,
      headers: this.headers,
      ...sent,
      ...(signal && { signal }),
    })
    if (reply.ok) return reply
    const text = await reply.text()
    throw errorFrom(parsed(text), reply.status)
  }
}

/** Where a running request is steered, which its id tells. */
function pathOf(id: string): string {
  const resource = id.startsWith('chatcmpl-')
    ? 'chat/completions'
    : id.startsWith('resp_')
      ? 'responses'
      : 'completions'
  return `/v1/${resource}/${encodeURIComponent(id)}`
}

/** What a server that is not Basin, such as a proxy, may reply with is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function bodyOf({ body }: Response): ReadableStream<Uint8Array> {
  if (!body) throw disconnected()
  return body
}

async function* responseEvents(reply: Response): AsyncGenerator<ResponseEvent, void> {
  for await (const data of dataOf(bodyOf(reply))) yield JSON.parse(data) as ResponseEvent
}

const isLast = ({ type }: ResponseEvent): boolean =>
  type === 'response.completed' ||
  type === 'response.incomplete' ||
  type === 'response.failed' ||
  type === 'error'

/** `fetch` rejects with a TypeError where it could not connect or the connection broke. */
const isConnectionError = (error: unknown): boolean => error instanceof TypeError

function globalSocket(): NonNullable<ClientOptions['WebSocket']> {
  const { WebSocket } = globalThis as { WebSocket?: NonNullable<ClientOptions['WebSocket']> }
  if (WebSocket) return WebSocket
  throw new Error(
    'There is no global WebSocket (Node has one from version 22 on): pass one as the option `WebSocket`, such as that of the package ws',
  )
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

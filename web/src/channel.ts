/**
 * How events of one answer reach the page: over the socket `/v1/refine`, or, where no socket gets
 * through, as a stream of `/v1/completions`, which can be watched, ended and extended but not paused; or
 * from the engine in this tab, which does all that the socket does.
 */
import { place } from './place.js'
import { addressOf, key, lost, reasonOf, Refusal, send } from './server.js'
import { openTabChannel } from './tab-channel.js'
import type { Channel, Listener, Request, ServerEvent } from './wire.js'

/** Tokens weighed at each position, as `logprobs` of a request. */
const ALTERNATIVES = 4

/** A socket that never opened. */
class Blocked extends Error {}

const socketUrl = (): URL => {
  const url = addressOf('v1/refine')
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url
}

function openSocket(listener: Listener): Promise<Channel> {
  return new Promise((resolve, reject) => {
    if (typeof WebSocket === 'undefined') {
      reject(new Blocked())
      return
    }
    const protocols = key.value === '' ? [] : ['basin', `basin-key.${key.value}`]
    const socket = new WebSocket(socketUrl(), protocols)
    let opened = false
    let closed = false
    socket.onopen = () => {
      opened = true
      resolve({
        kind: 'socket',
        tell: (frame) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame))
        },
        close: () => {
          closed = true
          socket.close()
        },
      })
    }
    socket.onmessage = ({ data }) => listener.event(JSON.parse(String(data)) as ServerEvent)
    socket.onclose = ({ code }) => {
      if (!opened) reject(new Blocked())
      else if (!closed) {
        lost()
        listener.broken(code === 1001 ? 'the server is going down' : 'the connection broke')
      }
    }
  })
}

interface Chunk {
  id: string
  choices: { text: string; finish_reason: string | null }[]
  refinement?: Record<string, unknown> & { type: string }
  error?: { message: string; code: string; param: string | null }
}

/** The socket's events, from a chunk of a stream. */
function eventsOf(chunk: Chunk, text: string): ServerEvent[] {
  if (chunk.error) return [{ type: 'error', error: chunk.error }]
  const { refinement } = chunk
  if (!refinement) return []
  const said = chunk.choices[0]?.text ?? ''
  if (refinement.type === 'finished') {
    const reason = chunk.choices[0]?.finish_reason ?? 'stop'
    return [{ type: 'finished', finish_reason: reason, text, refinement } as unknown as ServerEvent]
  }
  return [{ ...refinement, text: refinement['text'] ?? said } as unknown as ServerEvent]
}

/** Server-sent events, without those that carry no data. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder()
  const reader = body.getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines)
      if (line.startsWith('data: {')) yield JSON.parse(line.slice(6)) as Chunk
  }
}

async function openStream(request: Request, listener: Listener): Promise<Channel> {
  const abort = new AbortController()
  const stream = { stream: true, stream_options: { include_refinement: true } }
  const body = { ...request, ...stream, logprobs: ALTERNATIVES }
  const reply = await send('v1/completions', body, abort.signal)
  const id = reply.headers.get('x-completion-id') ?? ''
  listener.event({ type: 'started', id })
  const follow = async (): Promise<void> => {
    let text = ''
    if (!reply.body) throw new Refusal(200, 'unknown', 'the stream is empty')
    for await (const chunk of chunksOf(reply.body)) {
      text += chunk.choices[0]?.text ?? ''
      for (const event of eventsOf(chunk, text)) listener.event(event)
    }
  }
  follow().catch((error: unknown) => {
    if (!abort.signal.aborted) listener.broken(reasonOf(error))
  })
  const steer = (verb: string, said: unknown): void => {
    send(`v1/completions/${id}/${verb}`, said, undefined, 'POST').catch((error: unknown) => {
      listener.event({
        type: 'error',
        error: { message: reasonOf(error), code: 'steering', param: null },
      })
    })
  }
  return {
    kind: 'stream',
    tell: (frame) => {
      if (frame.type === 'extend') steer('extend', { steps: frame.steps })
      if (frame.type === 'finish') steer('finish', undefined)
      if (frame.type === 'cancel') abort.abort()
    },
    close: () => abort.abort(),
  }
}

/**
 * Begins an answer. `first`: so many steps, where a socket will ask for more; a stream takes all at
 * once. Throws what is wrong with it.
 */
export async function openChannel(
  request: Request,
  listener: Listener,
  hold: boolean,
  first: number | undefined,
): Promise<Channel> {
  const refinement = { ...request.refinement, ...(first !== undefined && { max_steps: first }) }
  const asked = { hold, logprobs: ALTERNATIVES, ...request, refinement }
  if (place.peek() === 'browser') return openTabChannel(asked, listener)
  try {
    const channel = await openSocket(listener)
    channel.tell({ type: 'start', ...asked })
    return channel
  } catch (error) {
    if (!(error instanceof Blocked)) throw error
    return await openStream(request, listener)
  }
}

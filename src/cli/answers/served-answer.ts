/** Answers of a running server, through the typed client. */
import { WebSocket } from 'ws'
import {
  BasinClient,
  BasinClientError,
  type ChatRequest,
  type ModelInfo,
  type RefineRequest,
  type Refinement,
  type SocketLike,
} from '../../client/index.js'
import type { AnswerEvent, TemplateShape, WatchedAnswer } from './answer-events.js'

export function connect(url: string, key: string | undefined): BasinClient {
  const given = key ?? process.env['BASIN_KEY']
  return new BasinClient({
    url,
    ...(given !== undefined && { key: given }),
    // Node 20 has none of its own.
    WebSocket: WebSocket as unknown as new (url: string, protocols?: string[]) => SocketLike,
  })
}

/** The model of this name, or the server's default. Throws an error that names those there are. */
export async function servedModel(
  client: BasinClient,
  name: string | undefined,
): Promise<ModelInfo> {
  const models = await client.models()
  const model = name === undefined ? models[0] : models.find(({ id }) => id === name)
  if (model) return model
  const names = models.map(({ id }) => id).join(', ')
  throw new Error(`the server has no model ${name ?? ''}; it has ${names || 'none'}`)
}

export function shapeOf({ capabilities: { template } }: ModelInfo): TemplateShape | undefined {
  if (!template) return undefined
  const { blank, layout, length } = template
  return { blank, ...(length !== null && { length }), ...(layout && { layout }) }
}

/** Over the socket: every step, as the server takes them. */
export function socketAnswer(client: BasinClient, request: RefineRequest): WatchedAnswer {
  const socket = client.refine(request)
  async function* events(): AsyncGenerator<AnswerEvent, void> {
    for await (const event of socket) {
      if (event.type === 'step') yield event
      else if (event.type === 'committed') yield { ...event, type: 'settled' }
      else if (event.type === 'finished') yield finishedEvent(event)
    }
  }
  return {
    events: events(),
    finish: () => {
      socket.finish()
    },
  }
}

/** Of a conversation, over a stream of events. */
export function chatAnswer(client: BasinClient, request: ChatRequest): WatchedAnswer {
  const answer = { id: undefined as string | undefined, finishing: Promise.resolve() }
  let wanted = false
  const finish = (): void => {
    wanted = true
    if (answer.id !== undefined) answer.finishing = finishIfRunning(client, answer.id)
  }
  async function* events(): AsyncGenerator<AnswerEvent, void> {
    const options = { include_refinement: true, include_usage: true }
    let text = ''
    let last: Parameters<typeof finishedEvent>[0]['refinement'] | undefined
    for await (const chunk of client.streamChat({ ...request, stream_options: options })) {
      if (answer.id === undefined) {
        answer.id = chunk.id
        if (wanted) finish()
      }
      const { refinement, usage } = chunk
      const added = chunk.choices[0]?.delta.content ?? ''
      text += added
      if (refinement?.type === 'step') yield refinement
      if (refinement?.type === 'committed') yield { ...refinement, type: 'settled', text: added }
      if (refinement?.type === 'finished') last = refinement
      if (usage && last) yield finishedEvent({ text, usage, refinement: last })
    }
    await answer.finishing
  }
  return { events: events(), finish }
}

/** An answer that has ended meanwhile is not found. */
async function finishIfRunning(client: BasinClient, id: string): Promise<void> {
  try {
    await client.finish(id)
  } catch (error) {
    if (!(error instanceof BasinClientError && error.code === 'not_found')) throw error
  }
}

const finishedEvent = ({
  refinement,
  text,
  usage,
}: {
  text: string
  usage: { completion_tokens: number }
  refinement: Pick<Refinement, 'restarts' | 'steps' | 'stop_reason' | 'terms'>
}): AnswerEvent => ({
  type: 'finished',
  text,
  tokens: usage.completion_tokens,
  steps: refinement.steps,
  restarts: refinement.restarts ?? 0,
  stopReason: refinement.stop_reason,
  terms: refinement.terms ?? [],
})

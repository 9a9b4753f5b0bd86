/** Real servers that share a real Redis, and what tests ask of them. */
import { setTimeout as wait } from 'node:timers/promises'
import type { ResponseReply } from '../../src/server/schemas/response-schema.js'
import { streamedEvents } from './events.js'
import { Server } from './process.js'

export interface ResponseEvent {
  type: string
  sequence_number: number
  response?: ResponseReply
  delta?: string
}

export const isEnd = ({ type }: ResponseEvent): boolean =>
  /^response\.(completed|incomplete|failed|cancelled)$/.test(type)

export const textOf = (events: readonly ResponseEvent[]): string =>
  events.map(({ delta }) => delta ?? '').join('')

/** Flags of a server of a fleet, quick to notice that another one is lost. */
export const fleetFlags = (redisUrl: string, more: Record<string, string> = {}): string[] =>
  Object.entries({
    'redis-url': redisUrl,
    fleet: 'on',
    'fleet-lease-seconds': '1',
    'checkpoint-seconds': '0.25',
    'drain-seconds': '5',
    threads: '1',
    ...more,
  }).flatMap(([name, value]) => [`--${name}`, value])

export const startReplica = (
  models: string,
  redisUrl: string,
  more: Record<string, string> = {},
): Promise<Server> => Server.start(models, ...fleetFlags(redisUrl, more))

/** Asks for a response in the background and returns its id. */
export async function begin(server: Server, body: object): Promise<string> {
  const reply = await server.post('/v1/responses', { ...body, background: true })
  const text = await reply.text()
  if (reply.status !== 200) throw new Error(`${reply.status}: ${text}`)
  return (JSON.parse(text) as ResponseReply).id
}

export async function retrieve(server: Server, id: string): Promise<ResponseReply> {
  return (await (await fetch(`${server.url}/v1/responses/${id}`)).json()) as ResponseReply
}

/** Of the events after a number; -1: of all. */
export const pathOf = (server: Server, id: string, after: number): string =>
  `${server.url}/v1/responses/${id}?stream=true${after < 0 ? '' : `&starting_after=${after}`}`

/** Events after a number, to the end or until `enough`; what came before the connection broke, if it did. */
export async function follow(
  server: Server,
  id: string,
  after = -1,
  enough: (event: ResponseEvent) => boolean = isEnd,
): Promise<ResponseEvent[]> {
  const seen: ResponseEvent[] = []
  try {
    for await (const event of streamedEvents<ResponseEvent>(
      await fetch(pathOf(server, id, after)),
    )) {
      seen.push(event)
      if (enough(event)) break
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
  return seen
}

/** Follows to the end through whichever server is there, asking again where a connection breaks. */
export async function followAnywhere(
  servers: () => readonly Server[],
  id: string,
  patience: number,
): Promise<ResponseEvent[]> {
  const seen: ResponseEvent[] = []
  const end = performance.now() + patience
  for (let turn = 0; !seen.some(isEnd) && performance.now() < end; turn++) {
    const all = servers()
    const server = all[turn % Math.max(1, all.length)]
    if (server) seen.push(...(await follow(server, id, seen.at(-1)?.sequence_number ?? -1)))
    if (!seen.some(isEnd)) await wait(200)
  }
  return seen
}

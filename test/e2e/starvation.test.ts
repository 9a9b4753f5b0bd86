/**
 * One client takes all it can get; another one is answered all the same. Each of these locked a model for
 * 20 seconds and more when slots were shared at admission only. On a machine that does nothing else,
 * BASIN_FIGURES=1 prints how long the other one waits, and checks it against half a second.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { Peer } from '../support/peer.js'
import { type CompletionBody, Server, writeModels } from '../support/process.js'
import { idleMachine, mostWait, percentile99 } from '../support/waits.js'

const SLOTS = 16
const REQUESTS = idleMachine ? 60 : 5
/** Enough for a loaded machine, and far below the 20 seconds and more of a locked model. */
const PATIENCE_MS = 10_000

let server: Server
let greedy: string
let other: string
let operator: string

beforeAll(async () => {
  const keys = join(mkdtempSync(join(tmpdir(), 'basin-starvation-')), 'keys.json')
  greedy = addKey(keys, 'greedy')
  other = addKey(keys, 'other')
  operator = addKey(keys, 'operator', true)
  server = await Server.start(
    writeModels(),
    '--slots',
    `${SLOTS}`,
    '--max-queue',
    '8',
    '--keys',
    keys,
  )
})

afterAll(() => server.stop())

const headers = (key: string) => ({
  authorization: `Bearer ${key}`,
  'content-type': 'application/json',
})
const post = (key: string, body: object, signal: AbortSignal): Promise<Response> =>
  fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: headers(key),
    body: JSON.stringify(body),
    signal,
  })
const endless = { max_steps: null, tolerance: 0, patience: 1000, min_steps: 100_000 }
const wide = { prompt: 'once', max_tokens: 2, refinement: { ...endless, candidates: SLOTS } }
const small = { prompt: 'upon a time', max_tokens: 6, temperature: 0, refinement: { max_steps: 4 } }

const ask = async (): Promise<string> => {
  const reply = await post(other, small, AbortSignal.timeout(PATIENCE_MS))
  expect(reply.status).toBe(200)
  const { choices } = (await reply.json()) as CompletionBody
  return choices[0]?.text ?? ''
}
const running = async () => {
  const text = await (await fetch(`${server.url}/metrics`, { headers: headers(operator) })).text()
  return Number(/basin_requests\{model="letters",state="running"\} (\d+)/.exec(text)?.[1])
}

describe('while one client', () => {
  const attacks: [string, () => Promise<() => Promise<unknown>>][] = [
    [
      'takes all slots with one request without end',
      async () => {
        const stop = new AbortController()
        const attack = post(greedy, wide, stop.signal).catch(() => undefined)
        await expect.poll(running).toBe(1)
        return () => (stop.abort(), attack)
      },
    ],
    [
      'fills slots and queue with requests without end',
      async () => {
        const stop = new AbortController()
        const one = { ...wide, refinement: endless }
        const many = Array.from({ length: SLOTS + 40 }, () =>
          post(greedy, one, stop.signal).then(
            (reply) => reply.status,
            () => undefined,
          ),
        )
        await expect.poll(running).toBe(SLOTS)
        return () => (stop.abort(), Promise.all(many))
      },
    ],
    [
      'has long texts turned to tokens, and asks for more',
      () => {
        const stop = new AbortController()
        const text = { model: 'letters', text: 'once upon a time '.repeat(12_000) }
        const again = async () => {
          while (!stop.signal.aborted) {
            const reply = await fetch(`${server.url}/v1/tokenize`, {
              method: 'POST',
              headers: headers(greedy),
              body: JSON.stringify(text),
              signal: stop.signal,
            })
            await reply.arrayBuffer()
          }
        }
        const many = Array.from({ length: 8 }, () => again().catch(() => undefined))
        return Promise.resolve(() => (stop.abort(), Promise.all(many)))
      },
    ],
    [
      'pauses an answer in all slots, and resumes and pauses it again',
      async () => {
        const peer = await Peer.connect(server.socket, headers(greedy))
        peer.say({ type: 'start', ...wide })
        await peer.next('step')
        peer.say({ type: 'pause' })
        const restless = setInterval(() => {
          peer.say({ type: 'resume' })
          peer.say({ type: 'pause' })
        }, 50)
        return () => {
          clearInterval(restless)
          return peer.close()
        }
      },
    ],
  ]

  it.each(attacks)('%s, another one is answered, and with the same text', async (title, attack) => {
    const alone = await ask()
    const undisturbed = await percentile99(REQUESTS, ask)
    const stop = await attack()
    const disturbed = await percentile99(REQUESTS, async () => {
      expect(await ask()).toBe(alone)
    })
    await stop()
    if (idleMachine) {
      const [from, to] = [undisturbed, disturbed].map((ms) => ms.toFixed(0))
      console.info(`a client ${title}: p99 of the other one ${from} to ${to} ms`)
    }
    expect(disturbed).toBeLessThan(mostWait(undisturbed))
    await expect.poll(running, { timeout: PATIENCE_MS }).toBe(0)
  })
})

/** The server behind the page: how it is asked, whether it is there, and what it serves. */
import { signal } from '@preact/signals'
import type { Model, WireError } from './wire.js'

/** The page was written as files for any host: there is no server to ask. */
export const alone = document.documentElement.dataset['host'] === 'files'

/** The page may lie below a path of its own, behind a proxy. */
const base = new URL('.', document.baseURI)
export const addressOf = (path: string): URL => new URL(path, base)

const KEY = 'basin-key'
/** Of the API, where one is needed; it is forgotten with the tab. */
export const key = signal(sessionStorage.getItem(KEY) ?? '')
export const models = signal<readonly Model[]>([])
/** `locked`: it answers to keys only, and the one given is none. */
export const status = signal<'opening' | 'there' | 'locked' | 'away'>('opening')

export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

const headers = (json: boolean): Record<string, string> => ({
  ...(json && { 'content-type': 'application/json' }),
  ...(key.value !== '' && { authorization: `Bearer ${key.value}` }),
})

/** Asks the server. Throws `Refusal`, or a TypeError where the server cannot be reached. */
export async function send(
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  method = body === undefined ? 'GET' : 'POST',
): Promise<Response> {
  const reply = await fetch(addressOf(path), {
    method,
    headers: headers(body !== undefined),
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    if (error instanceof TypeError) lost()
    throw error
  })
  if (reply.ok) return reply
  if (reply.status === 401) status.value = 'locked'
  const text = await reply.text()
  throw refusalOf(reply.status, text)
}

function refusalOf(code: number, text: string): Refusal {
  try {
    const { error } = JSON.parse(text) as { error: WireError }
    return new Refusal(code, error.code, error.message)
  } catch {
    // A proxy in between answers in a language of its own.
    return new Refusal(code, 'unknown', `the server answered with status ${String(code)}`)
  }
}

export async function ask<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await send(path, body, signal)).json()) as T
}

/** What an error says to a reader. */
export function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return error.message
  if (error instanceof TypeError) return 'the server cannot be reached'
  return error instanceof Error ? error.message : String(error)
}

/** Milliseconds between two looks for a server that is away. */
const RETRY_MS = 1500
let looking = false

/** The server is away: looks for it until it is back. */
export function lost(): void {
  if (status.value !== 'away') status.value = 'away'
  if (looking) return
  looking = true
  const look = (): void => {
    fetch(addressOf(alone ? 'models/index.json' : 'health')).then(
      () => {
        looking = false
        void loadModels()
      },
      () => setTimeout(look, RETRY_MS),
    )
  }
  setTimeout(look, RETRY_MS)
}

export async function loadModels(): Promise<void> {
  try {
    const { data } = await ask<{ data: Model[] }>(alone ? 'models/index.json' : 'v1/models')
    models.value = data
    status.value = 'there'
  } catch (error) {
    if (error instanceof Refusal && error.status !== 401) lost()
  }
}

export function useKey(value: string): Promise<void> {
  key.value = value.trim()
  if (key.value === '') sessionStorage.removeItem(KEY)
  else sessionStorage.setItem(KEY, key.value)
  return loadModels()
}

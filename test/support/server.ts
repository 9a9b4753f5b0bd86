/** The server with a scripted engine: HTTP and sockets are real, the engine is not. */
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import type { EngineClient } from '../../src/generation/client/engine-client.js'
import { type AppOptions, buildApp } from '../../src/server/app.js'
import type { ApiKeys } from '../../src/server/api-keys.js'
import { defaultLimits, type Limits } from '../../src/server/limits.js'
import type { App } from '../../src/server/context.js'
import { type Script, ScriptedGeneration } from './scripted-generation.js'

export interface TestServer {
  app: App
  engine: ScriptedGeneration
  draining: boolean
}

export async function openServer(
  script: Script = {},
  limits: Partial<Limits> = {},
  keys?: ApiKeys,
): Promise<TestServer> {
  const engine = new ScriptedGeneration(script)
  const app = await appOf(engine, {
    limits: { ...defaultLimits, ...limits },
    ...(keys && { keys }),
    draining: () => server.draining,
  })
  const server: TestServer = { app, engine, draining: false }
  return server
}

/** An app that serves the model of one engine. */
export const appOf = (engine: EngineClient, options: Partial<AppOptions> = {}): Promise<App> =>
  buildApp({
    models: new Map([[engine.model.name, engine]]),
    defaultModel: engine.model.name,
    limits: defaultLimits,
    logger: pino({ level: 'silent' }),
    version: '0.0.0-test',
    store: new MemoryStore(2 ** 24),
    ...options,
  })

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string }
}

export const post = (app: App, url: string, payload: object | string | Buffer) =>
  app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } })

/** The port of an app, which starts to listen if it does not yet. */
export async function portOf(app: App): Promise<number> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

/** The `ws:` address of the socket, on a port that is opened for it. */
export async function socketAddress(app: App): Promise<string> {
  return `ws://127.0.0.1:${await portOf(app)}/v1/refine`
}

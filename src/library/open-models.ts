/** Opens models, each in a worker thread of its own, and closes them. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { pagesPerContext } from '../energy/pages.js'
import { type EngineClient, startEngineClient } from '../generation/client/engine-client.js'
import type { WorkerOptions } from '../generation/protocol.js'
import { weightsFile } from '../model/checkpoint.js'
import { readConfig } from '../model/config.js'
import type { ModelSource } from '../server/models/model-registry.js'
import { chatAbility } from '../tokenizer/chat-template.js'
import type { FoundModel } from './model-folder.js'

const entry = new URL('../generation/core/worker.js', import.meta.url)

/** Without --pages a model has at most so many, which hold 65,536 positions. */
const MAX_DEFAULT_PAGES = 4096

export type WorkerFlags = Omit<WorkerOptions, 'modelPath' | 'pages'> & { pages?: number }

/** Throws `invalid_checkpoint` or another error that says why the model or its engine cannot be opened. */
export async function openEngineClient(
  directory: string,
  flags: WorkerFlags,
): Promise<EngineClient> {
  const perSlot = pagesPerContext(readConfig(directory))
  const pages = flags.pages ?? Math.max(perSlot, Math.min(MAX_DEFAULT_PAGES, flags.slots * perSlot))
  return startEngineClient({ ...flags, modelPath: directory, pages }, entry)
}

/** Models that are being opened, by their names. If one fails, the others are closed and its reason is thrown. */
export async function openAll(
  opening: readonly Promise<EngineClient>[],
): Promise<Map<string, EngineClient>> {
  const results = await Promise.allSettled(opening)
  const clients = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = results.find((each) => each.status === 'rejected')
  if (!failed) return new Map(clients.map((client) => [client.model.name, client]))
  await closeAll(clients)
  throw failed.reason
}

export async function closeAll(opened: Iterable<{ close: () => Promise<void> }>): Promise<void> {
  await Promise.all([...opened].map((each) => each.close()))
}

/** What is needed to open a model later. */
export function sourceOf({ directory, model }: FoundModel, flags: WorkerFlags): ModelSource {
  const { size: bytes } = statSync(join(directory, weightsFile))
  const open = () => openEngineClient(directory, flags)
  return { model, ...chatAbility(directory), bytes, directory, open }
}

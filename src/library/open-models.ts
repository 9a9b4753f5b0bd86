/** Finds model directories, and opens a model in a worker thread of its own. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { type EngineClient, startEngineClient } from '../generation/client/engine-client.js'
import type { WorkerOptions } from '../generation/protocol.js'
import { weightsFile } from '../model/checkpoint.js'
import { readConfig } from '../model/config.js'
import type { ModelSource } from '../server/models/model-registry.js'
import { hasChatTemplate } from '../tokenizer/chat-template.js'

const entry = new URL('../generation/core/worker.js', import.meta.url)

/** Positions in a page of the context cache. */
export const PAGE_POSITIONS = 16
/** Without --pages a model has at most so many, which hold 65,536 positions. */
const MAX_DEFAULT_PAGES = 4096

export type WorkerFlags = Omit<WorkerOptions, 'modelPath' | 'pages'> & { pages?: number }

/** Throws `invalid_checkpoint` or another error that says why the model or its engine cannot be opened. */
export async function openEngineClient(
  directory: string,
  flags: WorkerFlags,
): Promise<EngineClient> {
  const perSlot = Math.ceil(readConfig(directory).context_length / PAGE_POSITIONS)
  const pages = flags.pages ?? Math.max(perSlot, Math.min(MAX_DEFAULT_PAGES, flags.slots * perSlot))
  return startEngineClient({ ...flags, modelPath: directory, pages }, entry)
}

/** The name of the model in a directory, and what is needed to open it later. */
export function sourceOf(directory: string, flags: WorkerFlags): [string, ModelSource] {
  const model = readConfig(directory)
  const weights = join(directory, weightsFile)
  const bytes = existsSync(weights) ? statSync(weights).size : 0
  const chat = hasChatTemplate(directory)
  return [model.name, { model, chat, bytes, open: () => openEngineClient(directory, flags) }]
}

/** The model directories in `root`, sorted by name. Throws `invalid_data` if there are none. */
export function findModels(root: string): string[] {
  const names = existsSync(root) ? readdirSync(root).sort() : []
  const found = names
    .map((name) => join(root, name))
    .filter((directory) => existsSync(join(directory, 'config.json')))
  if (found.length > 0) return found
  const reason =
    'there is no model (a directory with a config.json) in it; name another directory with --models'
  throw new BasinError('invalid_data', { path: root, reason })
}

/** Flags and defaults of the workers that models run in: shared by the verbs that answer. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Option } from 'commander'
import { weightTypes } from '../energy/native/options.js'
import { engineChoices, refiners } from '../energy/open.js'
import { BasinError } from '../errors.js'
import { type EngineClient, startEngineClient } from '../generation/client/engine-client.js'
import { prefixSharings, type WorkerOptions } from '../generation/protocol.js'
import { weightsFile } from '../model/checkpoint.js'
import { readConfig } from '../model/config.js'
import type { Offer } from '../server/served.js'
import { hasChatTemplate } from '../tokenizer/chat.js'
import { integer } from './options/number-parsers.js'

const entry = new URL('../generation/core/worker.js', import.meta.url)

/** One core is left to whoever talks to the clients. */
const idleCores = Math.max(1, availableParallelism() - 1)

export const engineOption = () =>
  new Option('--engine <name>', 'what computes; auto takes the fastest one there is')
    .choices(engineChoices)
    .env('BASIN_ENGINE')
    .default('auto')

export const threadsOption = () =>
  new Option('--threads <n>', 'threads of each engine')
    .env('BASIN_THREADS')
    .argParser(integer(1, 1024))
    .default(idleCores)

export const weightsOption = () =>
  new Option('--weights <type>', 'numbers of the weights; bf16 and int8 need the native engine')
    .choices(weightTypes)
    .env('BASIN_WEIGHTS')
    .default('f32')

export const directionOption = () =>
  new Option('--refiner <direction>', 'what a residual energy descends along')
    .choices(refiners)
    .default('model', 'as its checkpoint says')

export const refinerOption = () => directionOption().env('BASIN_REFINER')

export const prefixSharingOption = () =>
  new Option(
    '--prefix-sharing <switch>',
    'whether prompts of one client that begin alike share pages of the cache, and are read once',
  )
    .choices(prefixSharings)
    .env('BASIN_PREFIX_SHARING')
    .default('on')

/** Most cache pages unless told otherwise: 65,536 positions. */
const MOST_PAGES = 4096
const PAGE_POSITIONS = 16

export type WorkerFlags = Omit<WorkerOptions, 'modelPath' | 'pages'> & { pages?: number }

/** Throws `invalid_checkpoint` and the like: what is wrong with the model or its engine. */
export async function openModel(directory: string, flags: WorkerFlags): Promise<EngineClient> {
  const perSlot = Math.ceil(readConfig(directory).context_length / PAGE_POSITIONS)
  const pages = flags.pages ?? Math.max(perSlot, Math.min(MOST_PAGES, flags.slots * perSlot))
  return startEngineClient({ ...flags, modelPath: directory, pages }, entry)
}

/** The model of a directory, by its name, for when it is wanted. */
export function offerOf(directory: string, flags: WorkerFlags): [string, Offer] {
  const model = readConfig(directory)
  const weights = join(directory, weightsFile)
  const bytes = existsSync(weights) ? statSync(weights).size : 0
  const chat = hasChatTemplate(directory)
  return [model.name, { model, chat, bytes, open: () => openModel(directory, flags) }]
}

/** The model directories in `root`, by name. Throws `invalid_data` when there is none. */
export function findModels(root: string): string[] {
  const names = existsSync(root) ? readdirSync(root).sort() : []
  const found = names
    .map((name) => join(root, name))
    .filter((directory) => existsSync(join(directory, 'config.json')))
  if (found.length > 0) return found
  const reason = 'there is no model (a directory with a config.json) in it'
  throw new BasinError('invalid_data', { path: root, reason })
}

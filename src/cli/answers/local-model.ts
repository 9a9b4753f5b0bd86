/** A model that is opened in this process for one user at a terminal. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Option } from 'commander'
import type { EngineClient } from '../../generation/client/engine-client.js'
import { modelNamed, scanModels } from '../../library/model-folder.js'
import { openEngineClient } from '../../library/open-models.js'
import { shippedModels } from '../../library/package.js'
import type { Limits } from '../../server/limits.js'
import { LARGEST_TERM_COUNT } from '../../server/schemas/terms-schema.js'
import { caps } from '../options/answer-options.js'
import {
  cacheTypeOption,
  engineOption,
  refinerOption,
  threadsOption,
  weightsOption,
} from '../options/engine-options.js'
import type { TemplateShape } from './answer-events.js'

const MOST_TERM_MODELS = 16

export interface LocalModelFlags {
  models: string
  engine: string
  threads: number
  weights: string
  cacheType: string
  refiner: string
}

export const localModelOptions = (): Option[] => [
  new Option('--models <directory>', 'directory of the model directories')
    .env('BASIN_MODELS')
    .default(shippedModels, 'the shipped models'),
  engineOption(),
  threadsOption(),
  weightsOption(),
  cacheTypeOption(),
  refinerOption(),
]

/** What `serve --model` finds, or else a directory. */
function directoryOf(model: string, models: string): string {
  if (existsSync(join(model, 'config.json'))) return model
  return modelNamed(model, scanModels(models), models).directory
}

export interface LocalModel {
  engine: EngineClient
  bounds: Pick<Limits, 'caps' | 'terms'>
  /** Where the models are that terms name. */
  placeOf: (model: string) => string
  shape: TemplateShape | undefined
}

/** Whoever opens it closes its engine. */
export async function openLocalModel(
  model: string,
  { cacheType, engine: name, models, refiner, threads, weights }: LocalModelFlags,
  slots: number,
): Promise<LocalModel> {
  const engine = await openEngineClient(directoryOf(model, models), {
    engine: name,
    threads,
    weights,
    cacheType,
    refiner,
    slots,
    maxQueue: 1,
    prefillChunk: 256,
    holdSeconds: 0,
    pauseSeconds: 0,
    watchdogSeconds: 0,
  })
  const bounds = {
    caps: { ...caps, candidates: engine.capacity.slots },
    terms: { terms: LARGEST_TERM_COUNT, positions: 1e6, models: MOST_TERM_MODELS },
  }
  const placeOf = (named: string) => directoryOf(named, models)
  return { engine, bounds, placeOf, shape: engine.model.template }
}

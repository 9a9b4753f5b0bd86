/** The models of a folder: which of its directories hold one, and by which names they are called. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { BasinError } from '../errors.js'
import { weightsFile } from '../model/checkpoint.js'
import { type ModelConfig, readConfig } from '../model/config.js'

export interface FoundModel {
  directory: string
  model: ModelConfig
}

/** A directory that looks like a model and cannot be served. */
export interface SkippedDirectory {
  directory: string
  reason: string
}

export interface ModelFolder {
  /** Sorted by their directories. */
  found: FoundModel[]
  skipped: SkippedDirectory[]
}

/** Why a directory is no model; undefined where it is one. */
function modelIn(directory: string): FoundModel | SkippedDirectory {
  if (!existsSync(join(directory, weightsFile))) {
    return { directory, reason: `it has no ${weightsFile}` }
  }
  try {
    return { directory, model: readConfig(directory) }
  } catch (error) {
    if (!(error instanceof BasinError)) throw error
    return { directory, reason: error.message }
  }
}

const looksLikeModel = (directory: string): boolean => existsSync(join(directory, 'config.json'))

/** The model directories in `root`, and those that look like one; or `root`, if that looks like one itself. */
export function scanModels(root: string): ModelFolder {
  const names = existsSync(root) && statSync(root).isDirectory() ? readdirSync(root).sort() : []
  const directories = names.map((name) => join(root, name))
  const all = (looksLikeModel(root) ? [root] : directories.filter(looksLikeModel)).map(modelIn)
  const found = all.filter((each) => 'model' in each)
  const skipped = all.filter((each) => 'reason' in each)
  return { found, skipped }
}

/** Throws `invalid_data` where two of these models have the same name, naming both directories. */
export function checkNames(models: readonly FoundModel[], root: string): void {
  const byName = new Map<string, string>()
  for (const { directory, model } of models) {
    const other = byName.get(model.name)
    if (other !== undefined) {
      const reason =
        `${basename(other)} and ${basename(directory)} have the same name in their config.json, ` +
        `${model.name}; change one, or serve one of them`
      throw new BasinError('invalid_data', { path: root, reason })
    }
    byName.set(model.name, directory)
  }
}

/** The model whose directory or whose config.json has this name. Throws `invalid_data` naming those there are. */
export function modelNamed(
  name: string,
  { found, skipped }: ModelFolder,
  root: string,
): FoundModel {
  const model =
    found.find(({ directory }) => basename(directory) === name) ??
    found.find((each) => each.model.name === name)
  if (model) return model
  const unusable = skipped.find(({ directory }) => basename(directory) === name)
  const names = found.map(({ directory }) => basename(directory)).join(', ')
  const reason = unusable
    ? `${name}: ${unusable.reason}`
    : `there is no model ${name}; there are ${names || 'none'}`
  throw new BasinError('invalid_data', { path: root, reason })
}

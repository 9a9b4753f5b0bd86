/**
 * A checkpoint directory: which tensors a configuration needs, and how they are read, checked and
 * written. docs/checkpoint.md has the table of names.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BasinError } from '../errors.js'
import { readConfig, type ModelConfig } from './config.js'
import { asFloat32, readSafetensors, writeSafetensors, type Float32Tensor } from './safetensors.js'

export interface Checkpoint {
  config: ModelConfig
  tensors: ReadonlyMap<string, Float32Tensor>
}

export const weightsFile = 'model.safetensors'

type Shapes = [name: string, shape: number[]][]

function layerShapes({ dim, ffn_dim: ffn, conditioning }: ModelConfig, layer: number): Shapes {
  const at = `transformer.layers.${String(layer)}`
  return [
    [`${at}.attention_norm.weight`, [dim]],
    [`${at}.ffn_norm.weight`, [dim]],
    ...(['wq', 'wk', 'wv', 'wo'].map((w) => [`${at}.attention.${w}.weight`, [dim, dim]]) as Shapes),
    [`${at}.feed_forward.w1.weight`, [ffn, dim]],
    [`${at}.feed_forward.w3.weight`, [ffn, dim]],
    [`${at}.feed_forward.w2.weight`, [dim, ffn]],
    ...((conditioning === 'adaln'
      ? [
          [`${at}.adaLN_modulation.1.weight`, [6 * dim, dim]],
          [`${at}.adaLN_modulation.1.bias`, [6 * dim]],
        ]
      : []) as Shapes),
  ]
}

function finalShapes({ dim, conditioning, energy, feed_forward }: ModelConfig): Shapes {
  if (energy.kind === 'residual' || feed_forward) return []
  if (conditioning !== 'adaln') return [['transformer.final_layer.weight', [1, dim]]]
  return [
    ['transformer.final_layer.linear.weight', [1, dim]],
    ['transformer.final_layer.adaLN_modulation.1.weight', [2 * dim, dim]],
    ['transformer.final_layer.adaLN_modulation.1.bias', [2 * dim]],
  ]
}

function answerShapes({
  dim,
  vocab_size: vocab,
  answer,
  energy,
  feed_forward,
}: ModelConfig): Shapes {
  if (answer.space === 'vocab')
    return answer.embed === 'vocab_to_embed' ? [['vocab_to_embed.weight', [dim, vocab]]] : []
  const shapes: Shapes = [
    ['answer.query.weight', [answer.block, dim]],
    ['answer.blank.weight', [dim]],
    ['answer.readout.weight', [vocab, dim]],
  ]
  if (feed_forward) return shapes
  if (energy.kind === 'residual') shapes.push(['answer.opinion.weight', [dim, dim]])
  if (energy.kind === 'potential') shapes.push(['answer.scale', []])
  if (answer.start === 'draft' && (energy.kind !== 'residual' || answer.anchor))
    shapes.push(['answer.draft.weight', [dim, dim]])
  if (answer.anchor) shapes.push(['answer.anchor.weight', [dim, dim]])
  return shapes
}

/** Every tensor that a configuration needs, with its shape. */
export function tensorShapes(config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const shapes: Shapes = [
    ['embeddings.weight', [config.vocab_size, config.dim]],
    ['alpha', []],
    ...Array.from({ length: config.layers }, (_, layer) => layerShapes(config, layer)).flat(),
    ['transformer.norm.weight', [config.dim]],
    ...finalShapes(config),
    ...answerShapes(config),
  ]
  if (config.conditioning !== 'none')
    shapes.push(['transformer.time_embeddings.weight', [config.landscapes, config.dim]])
  return new Map(shapes)
}

type FoundShapes = ReadonlyMap<string, readonly number[]>

/** Throws `invalid_checkpoint` where a tensor that is needed is missing or has another shape. */
function checkShapes(needed: FoundShapes, found: FoundShapes, path: string): void {
  for (const [name, shape] of needed) {
    const there = found.get(name)
    if (there?.join() === shape.join()) continue
    const wrong = `has shape [${there?.join() ?? ''}], the configuration needs [${shape.join()}]`
    const reason = `${name} ${there ? wrong : 'is missing'}`
    throw new BasinError('invalid_checkpoint', { path, reason })
  }
}

/** Reads the tensors that a configuration needs; checks that they have the right shapes and are finite. */
export function readTensors(path: string, config: ModelConfig): ReadonlyMap<string, Float32Tensor> {
  const needed = tensorShapes(config)
  const stored = readSafetensors(path, (found) => {
    checkShapes(needed, found, path)
  }).tensors
  const tensors = new Map<string, Float32Tensor>()
  for (const [name, shape] of needed) {
    const tensor = stored.get(name)
    if (!tensor) throw new BasinError('invalid_checkpoint', { path, reason: `${name} is missing` })
    const data = asFloat32(tensor, name, path)
    const bad = data.findIndex((x) => !Number.isFinite(x))
    if (bad >= 0)
      throw new BasinError('invalid_checkpoint', {
        path,
        reason: `${name}[${String(bad)}] is not finite`,
      })
    tensors.set(name, { shape, data })
  }
  return tensors
}

/** Reads a checkpoint. Throws `invalid_checkpoint` with the file and what is wrong with it. */
export function openCheckpoint(directory: string): Checkpoint {
  const config = readConfig(directory)
  return { config, tensors: readTensors(join(directory, weightsFile), config) }
}

export function writeCheckpoint(
  directory: string,
  { config, tensors }: Checkpoint,
  dtype: 'F32' | 'F16' = 'F32',
): void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'config.json')
  writeFileSync(`${path}.tmp`, `${JSON.stringify(config, null, 2)}\n`)
  renameSync(`${path}.tmp`, path)
  writeSafetensors(join(directory, weightsFile), tensors, { dtype })
}

export const parameterCount = (config: ModelConfig): number =>
  [...tensorShapes(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  )

/** Golden data of the published implementation (test/golden), with configurations made from its settings. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readTensors } from '../../src/model/checkpoint.js'
import { parseConfig, type ModelConfig } from '../../src/model/config.js'
import { asFloat32, readSafetensors, type Float32Tensor } from '../../src/model/safetensors.js'

interface Expected {
  hparams: {
    embedding_dim: number
    num_transformer_blocks: number
    multiheaded_attention_heads: number
    context_length: number
    ebt_type: string
    mcmc_num_steps: number
    normalize_initial_condition: boolean
    vocab_to_embed_uses_prob_dist: boolean
    infer_ebt_num_steps: number
    infer_ebt_override_alpha: number
    infer_generated_samples: number
    infer_accept_lower_energies: boolean
  }
  tokens: number[]
  initial_logits?: number[][][]
  forward?: { logits: number[][][]; energies: number[][] }
  greedy_from_zeros?: number[]
  advanced?: { final_logits: number[][]; energies: number[][][] }
  loss?: number
  initial_loss?: number
  final_step_loss?: number
}

export interface Golden {
  name: string
  expected: Expected
  config: ModelConfig
  tensors: ReadonlyMap<string, Float32Tensor>
}

const root = new URL('../golden/', import.meta.url).pathname

/** `start`: where answers start; noise as in training, or zeros for the greedy text. */
export function golden(name: string, start: 'noise' | 'zeros' = 'noise'): Golden {
  const directory = join(root, name)
  const expected = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8')) as Expected
  const h = expected.hparams
  const weights = join(directory, 'model.safetensors')
  const vocabulary = readSafetensors(weights).tensors.get('embeddings.weight')?.shape[0]
  const conditioned = h.ebt_type === 'time_embed' || h.ebt_type === 'adaln'
  const config = parseConfig(
    {
      format: 'basin-ebt/1',
      name: name.replaceAll('_', '-'),
      description: 'golden data',
      created: 0,
      vocab_size: vocabulary,
      dim: h.embedding_dim,
      layers: h.num_transformer_blocks,
      heads: h.multiheaded_attention_heads,
      ffn_dim: h.embedding_dim,
      context_length: h.context_length,
      norm_eps: 1e-5,
      rope_theta: 10000,
      conditioning: conditioned ? h.ebt_type : 'none',
      landscapes: conditioned ? h.mcmc_num_steps : 1,
      steps: h.mcmc_num_steps,
      answer: {
        space: 'vocab',
        block: 1,
        start,
        start_scale: 1,
        normalize: h.normalize_initial_condition ? 'every_step' : 'never',
        embed: h.vocab_to_embed_uses_prob_dist ? 'embeddings' : 'vocab_to_embed',
      },
      energy: { kind: 'head', direction: 'exact', doubt: 0 },
    },
    directory,
  )
  return {
    name,
    expected,
    config,
    tensors: readTensors(weights, config),
  }
}

export function goldenGradients(name: string): Map<string, Float32Array> {
  const path = join(root, name, 'grads.safetensors')
  const { tensors } = readSafetensors(path)
  return new Map([...tensors].map(([key, stored]) => [key, asFloat32(stored, key, path)]))
}

/** The largest difference divided by the largest expected magnitude. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let magnitude = 0
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs((actual[i] as number) - (expected[i] as number)))
    magnitude = Math.max(magnitude, Math.abs(expected[i] as number))
  }
  return actual.length === expected.length ? difference / magnitude : Infinity
}

/** Relative error in Euclidean norm. */
export function normError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    difference += ((actual[i] as number) - (expected[i] as number)) ** 2
    norm += (expected[i] as number) ** 2
  }
  return actual.length === expected.length ? Math.sqrt(difference / norm) : Infinity
}

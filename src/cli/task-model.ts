/** Writes config.json and tokenizer.json of a small model for a generated task, for `basin train`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseConfig } from '../model/config.js'
import { BLANK, drawExamples, type Task } from '../train/tasks/task.js'

const END_OF_TEXT = '<|endoftext|>'

/** Seed of the example in the configuration, apart from the seeds of training files. */
const EXAMPLE_SEED = 2 ** 32

/** The model has 0.6M parameters and a residual energy; it descends the amortized direction from zeros. */
export function writeTaskModel(directory: string, name: string, task: Task): void {
  const path = join(directory, 'config.json')
  const [example] = drawExamples(task, { count: 1, seed: EXAMPLE_SEED })
  const config = parseConfig(
    {
      format: 'basin-ebt/1',
      name,
      description: `${name}: the whole answer settles at once in latent space`,
      created: Math.floor(Date.now() / 1000),
      vocab_size: task.alphabet.length + 1,
      dim: 128,
      layers: 3,
      heads: 4,
      ffn_dim: 336,
      // One position for the start token, and the block.
      context_length: task.block + 1,
      norm_eps: 1e-5,
      rope_theta: 10000,
      conditioning: 'none',
      landscapes: 1,
      steps: 16,
      answer: {
        space: 'latent',
        block: task.block,
        start: 'zeros',
        start_scale: 0,
        normalize: 'never',
        embed: 'embeddings',
      },
      energy: { kind: 'residual', direction: 'amortized', doubt: 1 },
      temperature: 0,
      template: {
        blank: BLANK,
        length: task.block,
        example: example?.template,
        ...(task.layout && { layout: task.layout }),
      },
    },
    path,
  )
  const tokenizer = {
    format: 'basin-tokenizer/1',
    kind: 'characters',
    alphabet: task.alphabet,
    special: { [END_OF_TEXT]: task.alphabet.length },
    bos: END_OF_TEXT,
  }
  mkdirSync(directory, { recursive: true })
  writeFileSync(path, `${JSON.stringify(config, null, 2)}\n`)
  writeFileSync(join(directory, 'tokenizer.json'), `${JSON.stringify(tokenizer, null, 2)}\n`)
}

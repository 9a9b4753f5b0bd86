/** Writes config.json and tokenizer.json of a small model for a generated task, for `basin train`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseConfig } from '../model/config.js'
import { END_OF_TEXT, writeTokenizer, type RankedVocabulary } from '../tokenizer/bpe-training.js'
import { BLANK, drawExamples, type Task } from '../train/tasks/task.js'

/** Seed of the example in the configuration, apart from the seeds of training files. */
const EXAMPLE_SEED = 2 ** 32

/** The model has 0.6M parameters and a residual energy; it descends the amortized direction from zeros. */
export function writeTaskModel(directory: string, name: string, task: Task): void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'config.json')
  const [example] = drawExamples(task, { count: 1, seed: EXAMPLE_SEED })
  const config = parseConfig(
    {
      format: 'basin-ebt/1',
      name,
      description: `${name}: the whole answer settles at once in latent space`,
      created: Math.floor(Date.now() / 1000),
      vocab_size: writeTaskTokenizer(directory, task),
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
        blank: task.blank ?? BLANK,
        length: task.block,
        example: example?.template,
        ...(task.layout && { layout: task.layout }),
      },
    },
    path,
  )
  writeFileSync(path, `${JSON.stringify(config, null, 2)}\n`)
}

/** One token for each text of the alphabet. Returns the number of all tokens. */
function writeTaskTokenizer(directory: string, { alphabet, pattern }: Task): number {
  if (pattern !== undefined) {
    const vocabulary = wordVocabulary(alphabet, pattern)
    writeTokenizer(directory, vocabulary, END_OF_TEXT)
    return vocabulary.ranks.size + vocabulary.special.size
  }
  const tokenizer = {
    format: 'basin-tokenizer/1',
    kind: 'characters',
    alphabet,
    special: { [END_OF_TEXT]: alphabet.length },
    bos: END_OF_TEXT,
  }
  writeFileSync(join(directory, 'tokenizer.json'), `${JSON.stringify(tokenizer, null, 2)}\n`)
  return alphabet.length + 1
}

/** All bytes, so that every text can be encoded, then the words. */
function wordVocabulary(words: readonly string[], pattern: string): RankedVocabulary {
  const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))
  const longer = words.map((word) => Buffer.from(word)).filter(({ length }) => length > 1)
  const ranks = new Map([...bytes, ...longer].entries())
  return { ranks, pattern, special: new Map([[END_OF_TEXT, ranks.size]]) }
}

/** A published checkpoint with a tokenizer of Hugging Face's, as `basin convert` imports both. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCheckpoint } from '../../src/model/checkpoint.js'
import { exportReference } from '../../src/model/export/reference-export.js'
import { END_OF_TEXT } from '../../src/tokenizer/bpe-training.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { trainSmall } from '../tokenizer/samples.js'
import { huggingFace } from './huggingface.js'
import { configOf } from './models.js'
import { BasinProcess } from './process.js'

/**
 * Writes the model `name` into `root`, with random weights: any token may follow any other, so what its texts
 * match they match because of their grammar alone.
 */
export async function importModel(root: string, name: string): Promise<void> {
  const tokenizer = trainSmall()
  const tokens = tokenizer.ranks.size + tokenizer.special.size
  const config = configOf({
    name,
    vocab_size: tokens,
    context_length: 1024,
    answer: {
      space: 'vocab',
      block: 1,
      start: 'noise',
      normalize: 'every_step',
      embed: 'vocab_to_embed',
    },
    energy: { kind: 'head', direction: 'exact' },
  })
  const work = mkdtempSync(join(tmpdir(), 'basin-import-'))
  writeCheckpoint(work, { config, tensors: initialWeights(config, 1, 0.5) })
  const checkpoint = join(work, 'model.ckpt')
  exportReference(work, checkpoint, { tokenizer: 'small' })
  const file = join(work, 'tokenizer.json')
  writeFileSync(file, JSON.stringify(huggingFace(tokenizer)))
  const flags = ['--tokenizer', file, '--bos', END_OF_TEXT, '--out', join(root, name)]
  const { code, stderr } = await new BasinProcess('convert', checkpoint, ...flags).ended
  if (code !== 0) throw new Error(stderr)
}

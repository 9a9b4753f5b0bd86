/** Writes small random models whose vocabulary is the ten digits, for tests of the command line. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeCheckpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { configOf } from './models.js'

const tokenizer = {
  format: 'basin-tokenizer/1',
  kind: 'characters',
  alphabet: Array.from('0123456789'),
  special: { '<|end|>': 10 },
  bos: '<|end|>',
}

/** `spread`: scale of its random weights, as in `initialWeights`. */
export function writeDigits(
  root: string,
  name: string,
  feedForward: boolean,
  spread: number,
): void {
  const config = configOf({ name, ...(feedForward && { feed_forward: true }) })
  mkdirSync(join(root, name))
  writeCheckpoint(join(root, name), { config, tensors: initialWeights(config, 3, spread) })
  writeFileSync(join(root, name, 'tokenizer.json'), JSON.stringify(tokenizer))
}

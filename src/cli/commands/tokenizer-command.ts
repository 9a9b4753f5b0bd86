/** `basin tokenizer`: trains a tokenizer on text files. */
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { MAX_VOCABULARY } from '../../tokenizer/descriptor.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import {
  DEFAULT_PATTERN,
  END_OF_TEXT,
  trainBpe,
  writeTokenizer,
} from '../../tokenizer/bpe-training.js'
import { readText } from '../../train/data/text-files.js'
import { integer } from '../options/number-parsers.js'

interface TokenizerFlags {
  data: string[]
  vocabSize: number
  out: string
}

function trainTokenizer({ data, vocabSize, out }: TokenizerFlags): void {
  const texts = data.map(readText)
  const bar = new SingleBar({ format: 'merges {bar} {value}/{total} | {eta} s left' })
  bar.start(vocabSize, 0)
  const vocabulary = trainBpe(texts, {
    vocabSize,
    pattern: DEFAULT_PATTERN,
    special: [END_OF_TEXT],
    onMerge: (ranks) => bar.update(ranks),
  })
  bar.stop()
  writeTokenizer(out, vocabulary, END_OF_TEXT)
  const tokenizer = openTokenizer(out)
  let tokens = 0
  let bytes = 0
  for (const text of texts) {
    tokens += tokenizer.encode(text, { special: 'all' }).length
    bytes += Buffer.byteLength(text)
  }
  console.log(
    `${out}: ${tokenizer.vocabSize} tokens, ${(bytes / tokens).toFixed(3)} bytes per token`,
  )
}

export function registerTokenizer(program: Command): void {
  const tokenizer = program.command('tokenizer').description('train a tokenizer')
  tokenizer
    .command('train')
    .description(
      `train byte-pair encoding on UTF-8 text, in which ${END_OF_TEXT} separates documents`,
    )
    .requiredOption('--data <file...>', 'text files')
    .requiredOption(
      '--vocab-size <n>',
      'number of tokens, special ones included',
      integer(257, MAX_VOCABULARY),
    )
    .requiredOption('--out <directory>', 'directory for tokenizer.json and its file of merges')
    .action(trainTokenizer)
}

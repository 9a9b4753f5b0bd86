/** `basin convert`: makes a model directory of a published checkpoint. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { BasinError } from '../../errors.js'
import { parameterCount, writeCheckpoint } from '../../model/checkpoint.js'
import { budgetOf } from '../../model/import/reference-budget.js'
import { modelCard } from '../../model/import/model-card.js'
import { openReference, type Imported } from '../../model/import/reference-import.js'
import { Settings, type Hyperparameters } from '../../model/import/hyperparameters.js'
import { importTokenizer } from '../../tokenizer/import-tokenizer.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'

interface ConvertFlags {
  tokenizer: string
  out: string
  hparams?: string
  name?: string
  description?: string
  bos?: string
}

const MAX_HPARAMS_BYTES = 1024 * 1024

export function registerConvert(program: Command): void {
  program
    .command('convert')
    .description('import a published checkpoint (Lightning, state dict or safetensors)')
    .argument(
      '<checkpoint>',
      'a .ckpt, .pt or .safetensors file; code in a pickle is never executed',
    )
    .requiredOption(
      '--tokenizer <source>',
      "a Hugging Face tokenizer.json, a model's directory, or gpt2, cl100k_base, o200k_base",
    )
    .requiredOption('--out <directory>', 'the model directory to make; it must not exist yet')
    .option(
      '--hparams <file>',
      'JSON file of the hyper_parameters that the checkpoint does not have',
    )
    .option(
      '--name <name>',
      'the name that requests use; default: that of an exported model, else the last part of --out',
    )
    .option('--description <text>', 'one sentence for lists of models')
    .option('--bos <token>', 'a special token to put before every prompt; default: none')
    .action(convert)
}

/** Writes to a directory beside `out` and renames it at the end, so that `out` is complete or absent. */
export function convert(checkpoint: string, flags: ConvertFlags): void {
  const out = resolve(flags.out)
  if (existsSync(out))
    throw new BasinError('invalid_data', {
      path: out,
      reason: 'it exists already, and nothing was written; name another --out',
    })
  const started = performance.now()
  const imported = openReference(checkpoint, {
    identity: {
      name: basename(out),
      description: `Imported from ${basename(checkpoint)}`,
      created: Math.floor(Date.now() / 1000),
    },
    chosen: {
      ...(flags.name !== undefined && { name: flags.name }),
      ...(flags.description !== undefined && { description: flags.description }),
    },
    ...(flags.hparams !== undefined && { hyperparameters: readHparams(flags.hparams) }),
  })
  const partial = join(dirname(out), `.${basename(out)}.${process.pid}.partial`)
  try {
    mkdirSync(partial, { recursive: true })
    write(partial, checkpoint, imported, flags)
    renameSync(partial, out)
  } finally {
    imported.close()
    rmSync(partial, { recursive: true, force: true })
  }
  const { config } = imported
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const millions = (parameterCount(config) / 1e6).toFixed(2)
  console.log(`${out}: ${config.name}, ${millions}M parameters, ${seconds} s`)
}

function write(
  directory: string,
  checkpoint: string,
  { config, hyperparameters, tensors }: Imported,
  { bos, tokenizer }: ConvertFlags,
): void {
  importTokenizer(tokenizer, directory, bos)
  const { vocabSize } = openTokenizer(directory)
  if (vocabSize > config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: tokenizer,
      reason: `it has ${vocabSize} tokens, and the model has room for ${config.vocab_size}; name the tokenizer that the model was trained with`,
    })
  const budget = budgetOf(new Settings(hyperparameters, checkpoint), config)
  const card = modelCard(config, basename(checkpoint), budget, hyperparameters)
  writeFileSync(join(directory, 'README.md'), card)
  writeCheckpoint(directory, { config, tensors })
}

function readHparams(path: string): Hyperparameters {
  try {
    if (statSync(path).size > MAX_HPARAMS_BYTES) throw new Error('it is larger than 1 MiB')
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw new Error('it must be a JSON object')
    return json as Hyperparameters
  } catch (cause) {
    throw new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })
  }
}

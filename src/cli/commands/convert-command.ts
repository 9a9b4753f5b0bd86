/** `basin convert`: a published checkpoint becomes a model directory. */
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
import { budgetOf } from '../../model/imports/budget.js'
import { modelCard } from '../../model/imports/card.js'
import { openReference, type Imported } from '../../model/imports/reference.js'
import { Settings, type Hyperparameters } from '../../model/imports/settings.js'
import { adoptTokenizer } from '../../tokenizer/adopt.js'
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
    .argument('<checkpoint>', 'model.ckpt, .pt or .safetensors; unpickling runs nothing')
    .requiredOption(
      '--tokenizer <source>',
      "a Hugging Face tokenizer.json, a model's directory, or gpt2, cl100k_base, o200k_base",
    )
    .requiredOption('--out <directory>', 'the model directory to make; it must not exist')
    .option('--hparams <file>', 'JSON with hyper_parameters that the checkpoint lacks')
    .option(
      '--name <name>',
      'what requests call it; default: as exported, else the last part of --out',
    )
    .option('--description <text>', 'one sentence for listings')
    .option('--bos <token>', 'special token to put before every prompt; default: none')
    .action(convert)
}

/** The directory appears whole or not at all. */
function convert(checkpoint: string, flags: ConvertFlags): void {
  const out = resolve(flags.out)
  if (existsSync(out))
    throw new BasinError('invalid_data', { path: out, reason: 'exists already; nothing was done' })
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
  adoptTokenizer(tokenizer, directory, bos)
  const { vocabSize } = openTokenizer(directory)
  if (vocabSize > config.vocab_size)
    throw new BasinError('invalid_tokenizer', {
      path: tokenizer,
      reason: `has ${vocabSize} tokens, the model ${config.vocab_size}`,
    })
  const budget = budgetOf(new Settings(hyperparameters, checkpoint), config)
  const card = modelCard(config, basename(checkpoint), budget, hyperparameters)
  writeFileSync(join(directory, 'README.md'), card)
  writeCheckpoint(directory, { config, tensors })
}

function readHparams(path: string): Hyperparameters {
  try {
    if (statSync(path).size > MAX_HPARAMS_BYTES) throw new Error('exceeds 1 MiB')
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw new Error('must be an object')
    return json as Hyperparameters
  } catch (cause) {
    throw new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })
  }
}

/** `basin export`: a model for the tools of others, or in half the bytes. */
import { cpSync, existsSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Option, type Command } from 'commander'
import { BasinError } from '../../errors.js'
import { openCheckpoint, weightsFile, writeCheckpoint } from '../../model/checkpoint.js'
import { exportReference } from '../../model/export/reference.js'
import { trainingStateFile } from '../../train/training-state.js'

interface ExportFlags {
  format: 'reference' | 'float16'
  out: string
  tokenizer: string
}

export function registerExport(program: Command): void {
  program
    .command('export')
    .description('write a model as the published implementation loads it, or in half the bytes')
    .argument('<model>', "the model's directory")
    .addOption(
      new Option(
        '--format <name>',
        'reference: a Lightning checkpoint, zip and pickle; float16: a model directory with weights of 16 bits',
      )
        .choices(['reference', 'float16'])
        .default('reference'),
    )
    .requiredOption('--out <path>', 'the .ckpt, or directory, to write; it must not exist')
    .option(
      '--tokenizer <name>',
      "hyper_parameters.tokenizer: a name on the Hugging Face hub, of the model's vocabulary",
      'EleutherAI/gpt-neox-20b',
    )
    .action((model: string, { format, out, tokenizer }: ExportFlags) => {
      if (existsSync(out))
        throw new BasinError('invalid_data', { path: out, reason: 'exists already' })
      if (format === 'reference') exportReference(model, out, { tokenizer })
      else exportHalf(model, out)
      const file = format === 'reference' ? out : join(out, weightsFile)
      console.log(`${file}: ${(statSync(file).size / 1e6).toFixed(1)} MB`)
    })
}

/** A copy of a model's directory whose weights are the nearest float16 numbers. */
function exportHalf(model: string, out: string): void {
  const checkpoint = openCheckpoint(model)
  const weights = [weightsFile, trainingStateFile]
  cpSync(model, out, { recursive: true, filter: (file) => !weights.includes(basename(file)) })
  writeCheckpoint(out, checkpoint, 'F16')
}

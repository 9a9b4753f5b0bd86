/** `basin export`: writes a model for the published implementation, or with weights of half the size. */
import { cpSync, existsSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Option, type Command } from 'commander'
import { BasinError } from '../../errors.js'
import { openCheckpoint, weightsFile, writeCheckpoint } from '../../model/checkpoint.js'
import { exportReference } from '../../model/export/reference-export.js'
import { trainingStateFile } from '../../train/training-state.js'

interface ExportFlags {
  format: 'reference' | 'float16'
  out: string
  tokenizer: string
}

export function registerExport(program: Command): void {
  program
    .command('export')
    .description('write a model in the format of the published implementation, or in float16')
    .argument('<model>', "the model's directory")
    .addOption(
      new Option(
        '--format <name>',
        'reference: a PyTorch Lightning checkpoint; float16: a model directory with 16-bit weights',
      )
        .choices(['reference', 'float16'])
        .default('reference'),
    )
    .requiredOption('--out <path>', 'the .ckpt file or directory to write; it must not exist yet')
    .option(
      '--tokenizer <name>',
      'reference: the name of its tokenizer on the Hugging Face hub (hyper_parameters.tokenizer)',
      'EleutherAI/gpt-neox-20b',
    )
    .action((model: string, { format, out, tokenizer }: ExportFlags) => {
      if (existsSync(out))
        throw new BasinError('invalid_data', {
          path: out,
          reason: 'it exists already, and nothing was written; name another --out',
        })
      if (format === 'reference') exportReference(model, out, { tokenizer })
      else exportHalf(model, out)
      const file = format === 'reference' ? out : join(out, weightsFile)
      console.log(`${file}: ${(statSync(file).size / 1e6).toFixed(1)} MB`)
    })
}

/** Copies a model's directory, with its weights rounded to float16. */
function exportHalf(model: string, out: string): void {
  const checkpoint = openCheckpoint(model)
  const weights = [weightsFile, trainingStateFile]
  cpSync(model, out, { recursive: true, filter: (file) => !weights.includes(basename(file)) })
  writeCheckpoint(out, checkpoint, 'F16')
}

/** `basin export`: a model for the tools of others. */
import { existsSync, statSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { BasinError } from '../errors.js'
import { exportReference } from '../model/export/reference.js'

interface ExportFlags {
  format: 'reference'
  out: string
  tokenizer: string
}

export function registerExport(program: Command): void {
  program
    .command('export')
    .description('write a model as a checkpoint that the published implementation loads')
    .argument('<model>', "the model's directory")
    .addOption(
      new Option('--format <name>', 'reference: a Lightning checkpoint, zip and pickle')
        .choices(['reference'])
        .default('reference'),
    )
    .requiredOption('--out <file>', 'the .ckpt to write; it must not exist')
    .option(
      '--tokenizer <name>',
      "hyper_parameters.tokenizer: a name on the Hugging Face hub, of the model's vocabulary",
      'EleutherAI/gpt-neox-20b',
    )
    .action((model: string, { out, tokenizer }: ExportFlags) => {
      if (existsSync(out))
        throw new BasinError('invalid_data', { path: out, reason: 'exists already' })
      exportReference(model, out, { tokenizer })
      console.log(`${out}: ${(statSync(out).size / 1e6).toFixed(1)} MB`)
    })
}

/** `basin pull`: downloads a model into the folder of models, and imports a published checkpoint. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs'
import { basename, extname, join, resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Option, type Command } from 'commander'
import { BasinError } from '../../errors.js'
import { download } from '../../library/hub/hub-download.js'
import { type HubFile, hubFiles, hubSource } from '../../library/hub/hub-repository.js'
import { shippedModels } from '../../library/package.js'
import { weightsFile } from '../../model/checkpoint.js'
import { readConfig } from '../../model/config.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { convert } from './convert-command.js'

interface PullFlags {
  models: string
  mirror: string
  revision?: string
  name?: string
  token?: string
  tokenizer?: string
}

/** What a model directory may hold, and what is imported. */
const wanted =
  /^(config\.json|tokenizer[\w.-]*|README\.md|evaluation\.json|[\w.-]+\.(safetensors|ckpt|pt))$/
const checkpoints = ['.ckpt', '.pt', '.safetensors']

export function registerPull(program: Command): void {
  program
    .command('pull')
    .description('download a model; the same command again goes on where it was broken off')
    .argument('<source>', 'ORG/NAME, or the URL of a repository on a Hugging Face style hub')
    .option('--revision <name>', 'a branch, a tag or a commit (default: main)')
    .addOption(
      new Option('--mirror <url>', 'the hub of an ORG/NAME')
        .env('HF_ENDPOINT')
        .default('https://huggingface.co'),
    )
    .addOption(
      new Option('--models <directory>', 'where the model is put')
        .env('BASIN_MODELS')
        .default(shippedModels, 'the folder of the shipped models'),
    )
    .option('--name <name>', 'of the directory (default: that of the repository)')
    .option('--tokenizer <source>', 'for a checkpoint that comes without one, as of basin convert')
    .addOption(new Option('--token <token>', 'where the hub asks for one').env('HF_TOKEN'))
    .action(pull)
}

/** Downloads into a directory of its own, which becomes the model's when it is whole. */
async function pull(text: string, flags: PullFlags): Promise<void> {
  const source = hubSource(text, flags.mirror, flags.revision)
  const name = flags.name ?? basename(source.repository)
  if (!/^[\w-][\w.-]*$/.test(name))
    throw new BasinError('invalid_request', { param: '--name', reason: 'must be a plain name' })
  const out = resolve(flags.models, name)
  if (existsSync(out))
    throw new BasinError('invalid_data', {
      path: out,
      reason: 'it exists already, and nothing was downloaded; choose another --name',
    })
  const headers = flags.token === undefined ? {} : { authorization: `Bearer ${flags.token}` }
  const files = (await hubFiles(source, headers)).filter((file) => wanted.test(file.name))
  if (!files.some((file) => checkpoints.includes(extname(file.name))))
    throw new BasinError('invalid_data', { path: text, reason: 'it has no weights at its top' })
  const partial = resolve(flags.models, '.pull', name)
  mkdirSync(partial, { recursive: true })
  for (const file of files)
    if (!existsSync(join(partial, file.name))) await showing(file, partial, headers)
  finish(partial, out, files, flags)
  const all = resolve(flags.models, '.pull')
  if (readdirSync(all).length === 0) rmdirSync(all)
}

async function showing(
  file: HubFile,
  directory: string,
  headers: Record<string, string>,
): Promise<void> {
  const bar = process.stderr.isTTY
    ? new SingleBar({
        format: `${file.name} {bar} {value}/{total} MiB | {eta_formatted} left`,
        clearOnComplete: true,
        hideCursor: true,
      })
    : undefined
  const mib = (bytes: number) => Math.round(bytes / 2 ** 18) / 4
  let bytes = 0
  bar?.start(mib(file.size ?? 0), 0)
  try {
    await download(file, join(directory, file.name), {
      headers,
      onProgress: (now) => {
        bytes = now
        bar?.update(mib(now))
      },
    })
  } finally {
    bar?.stop()
  }
  console.error(`${file.name}: ${bytes} bytes, checked`)
}

/** A model of Basin's is put in its place, a published checkpoint is imported there. */
function finish(partial: string, out: string, files: readonly HubFile[], flags: PullFlags): void {
  if (isOwn(partial)) {
    const { name } = readConfig(partial)
    openTokenizer(partial)
    renameSync(partial, out)
    console.log(`${out}: ${name}`)
    return
  }
  const found = files.filter((file) => checkpoints.includes(extname(file.name)))
  const [checkpoint] = found
  if (!checkpoint || found.length > 1)
    throw new BasinError('invalid_data', {
      path: partial,
      reason: `it is no model of Basin's, and has ${found.length} checkpoints where basin convert takes one`,
    })
  const own = existsSync(join(partial, 'tokenizer.json'))
    ? join(partial, 'tokenizer.json')
    : undefined
  const tokenizer = flags.tokenizer ?? own
  if (tokenizer === undefined)
    throw new BasinError('invalid_request', {
      param: '--tokenizer',
      reason:
        'the checkpoint comes without a tokenizer.json; name the one that it was trained with',
    })
  convert(join(partial, checkpoint.name), { tokenizer, out })
  rmSync(partial, { recursive: true })
}

function isOwn(directory: string): boolean {
  const path = join(directory, 'config.json')
  if (!existsSync(path) || !existsSync(join(directory, weightsFile))) return false
  const { format } = JSON.parse(readFileSync(path, 'utf8')) as { format?: unknown }
  return typeof format === 'string' && format.startsWith('basin-ebt/')
}

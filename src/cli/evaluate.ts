/** `basin evaluate`: how good the answers of a model are at each budget, beside a control. */
import { writeFileSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { loadBackend, type Backend, type BackendChoice } from '../energy/tfjs/backend.js'
import { Network } from '../energy/tfjs/network.js'
import { openCheckpoint, parameterCount } from '../model/checkpoint.js'
import { openTokenizer } from '../tokenizer/tokenizer.js'
import { evaluateBatches, type BudgetScore } from '../train/evaluate.js'
import { openData } from '../train/source.js'
import { integer } from './numbers.js'
import { integerList } from './numbers.js'

interface Flags {
  model: string
  control?: string
  data: string[]
  rows: number
  window: number
  batch: number
  budgets: number[]
  keep: 'best' | 'last'
  seed: number
  backend: BackendChoice
  threads: number
  json?: string
}

interface Evaluation {
  name: string
  parameters: number
  scores: (BudgetScore & { bitsPerByte?: number })[]
}

export function registerEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('measure the answers of a model at each budget, on data it was not trained on')
    .requiredOption('--model <directory>', 'model to measure')
    .requiredOption('--data <files...>', 'text, or JSON lines {prompt?, template?, completion}')
    .option('--control <directory>', 'feed-forward model to set beside it')
    .option('--rows <n>', 'windows of text, or examples', integer(1, 1e7), 256)
    .option('--window <tokens>', 'predicted tokens per window of text', integer(1, 1e6), 192)
    .option('--batch <rows>', 'rows computed together', integer(1, 65_536), 16)
    .option('--budgets <list>', 'numbers of steps', integerList, [1, 2, 4, 8, 16, 32])
    .addOption(
      new Option('--keep <which>', 'the answer measured: of lowest energy so far, or the last')
        .choices(['best', 'last'])
        .default('best'),
    )
    .option('--seed <n>', 'seed of random starts', integer(0, 2 ** 31 - 1), 7)
    .addOption(
      new Option('--backend <name>', 'TensorFlow.js backend')
        .choices(['auto', 'wasm', 'node', 'node-gpu'])
        .default('auto'),
    )
    .option('--threads <n>', 'threads of the wasm backend', integer(1, 1024), 1)
    .option('--json <file>', 'write the figures there as well')
    .action(evaluate)
}

async function evaluate(flags: Flags): Promise<void> {
  const backend = await loadBackend(flags.backend, flags.threads)
  console.error(`on ${backend.name}`)
  const directories = [flags.model, ...(flags.control === undefined ? [] : [flags.control])]
  const evaluations = directories.map((directory) => {
    const evaluation = measure(backend, directory, flags)
    console.log(tableOf(evaluation))
    return evaluation
  })
  if (flags.json === undefined) return
  const { data, rows, window, keep, seed } = flags
  const report = { data, rows, window, keep, seed, backend: backend.name, models: evaluations }
  writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`)
}

function measure({ tf }: Backend, directory: string, flags: Flags): Evaluation {
  const { config, tensors } = openCheckpoint(directory)
  const data = openData({
    ...flags,
    valid: flags.data,
    rows: flags.batch,
    validRows: flags.rows,
    relabel: [],
    strict: true,
    config,
    tokenizer: openTokenizer(directory),
  })
  const weights = new Map([...tensors].map(([name, t]) => [name, tf.tensor(t.data, [...t.shape])]))
  const network = new Network(tf, config, weights)
  const scores = evaluateBatches(network, data.validation, flags)
  network.dispose()
  for (const tensor of weights.values()) tensor.dispose()
  const perByte = data.bytesPerPosition * Math.LN2
  return {
    name: config.name,
    parameters: parameterCount(config),
    scores: perByte > 0 ? scores.map((s) => ({ ...s, bitsPerByte: s.nats / perByte })) : scores,
  }
}

function tableOf({ name, parameters, scores }: Evaluation): string {
  const text = scores.some((s) => s.bitsPerByte !== undefined)
  const heads = ['steps', ...(text ? ['bits/byte'] : []), 'nats', 'right', 'whole', 'energy']
  const lines = scores.map((s) => [
    String(s.steps),
    ...(text ? [(s.bitsPerByte ?? NaN).toFixed(4)] : []),
    s.nats.toFixed(4),
    `${(100 * s.accuracy).toFixed(2)} %`,
    `${(100 * s.solved).toFixed(2)} %`,
    s.energy.toFixed(4),
  ])
  const row = (cells: string[]) => `| ${cells.map((cell) => cell.padStart(9)).join(' | ')} |`
  return [
    `${name}, ${(parameters / 1e6).toFixed(2)}M parameters`,
    row(heads),
    row(heads.map(() => '---:')),
    ...lines.map(row),
    '',
  ].join('\n')
}

/**
 * The same little model trained with every objective on the same puzzles, then looked at:
 *
 *     npm run build && node examples/objectives/study.mjs [--work DIR] [--updates N]
 *
 * writes docs/training/ (pictures, landscape.json, figures.md). Runs that are finished are not repeated;
 * an interrupted study goes on where it was.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: join(tmpdir(), 'basin-objectives') },
    updates: { type: 'string', default: '240' },
    pictures: { type: 'string', default: new URL('../../docs/training', import.meta.url).pathname },
  },
})
const basin = new URL('../../dist/cli/main.js', import.meta.url).pathname
const at = (...names) => join(values.work, ...names)
const budgets = [1, 2, 4, 8, 16]

const energies = {
  head: { kind: 'head', direction: 'exact', doubt: 0 },
  residual: { kind: 'residual', direction: 'amortized', doubt: 1 },
}
const config = (name, energy) => ({
  format: 'basin-ebt/1',
  name,
  description: '4x4 sudoku, one board one answer',
  created: 0,
  vocab_size: 5,
  dim: 32,
  layers: 1,
  heads: 2,
  ffn_dim: 64,
  context_length: 32,
  norm_eps: 1e-5,
  rope_theta: 10000,
  conditioning: 'none',
  landscapes: 1,
  steps: 2,
  answer: {
    space: 'latent',
    block: 16,
    start: 'zeros',
    start_scale: 1,
    normalize: 'never',
    embed: 'embeddings',
  },
  energy: energies[energy],
  template: { blank: '_', length: 16 },
})

/** Name, energy, flags. What is not said is the default of `basin train`. */
const runs = [
  ['feed-forward', 'residual', ['--objective', 'feed-forward']],
  ['positives', 'head', ['--objective', 'positives']],
  ['infonce', 'head', ['--objective', 'contrastive', '--contrast', 'infonce', '--alpha', '10']],
  ['hinge', 'head', ['--objective', 'contrastive', '--contrast', 'hinge', '--alpha', '10']],
  ['divergence', 'head', ['--objective', 'contrastive', '--contrast', 'divergence', '--alpha', '10']],
  ['regularized', 'residual', ['--objective', 'regularized']],
  ['optimize-s1', 'head', ['--objective', 'optimize', '--alpha', '10']],
  [
    'optimize-s2',
    'head',
    // Noise and step size of the published recipe are those of vocabulary space; these are of latent space.
    ['--objective', 'optimize', '--stage', 's2', '--steps', '2', '--repeats', '1', '--least-repeats', '1', '--noise', '0.1', '--alpha', '10'],
  ],
  ['equilibrium', 'residual', ['--objective', 'equilibrium']],
  ['amortized', 'residual', ['--objective', 'amortized', '--teacher', at('optimize-s2')]],
]

function run(...words) {
  console.error(`basin ${words.join(' ')}`)
  const { status, stderr } = spawnSync(process.execPath, [basin, ...words], { encoding: 'utf8' })
  if (status === 0) return ''
  return stderr.trim().split('\n').at(-1) ?? 'failed'
}

const stop = (message) => {
  console.error(message)
  process.exit(1)
}

mkdirSync(at('tokenizer'), { recursive: true })
writeFileSync(
  at('tokenizer', 'tokenizer.json'),
  JSON.stringify({
    format: 'basin-tokenizer/1',
    kind: 'characters',
    alphabet: ['1', '2', '3', '4'],
    special: { '<|endoftext|>': 4 },
    bos: '<|endoftext|>',
  }),
)
for (const [file, count, seed, ...more] of [
  ['train.jsonl', 4000, 1],
  ['valid.jsonl', 256, 2, '--exclude', at('train.jsonl')],
]) {
  if (existsSync(at(file))) continue
  const made = ['tasks', 'sudoku', '--size', '4', '--count', String(count), '--seed', String(seed)]
  const failure = run(...made, '--out', at(file), ...more)
  if (failure) stop(failure)
}

/** How each run ended, where it did not reach its last update. */
const ends = {}
for (const [name, energy, flags] of runs) {
  const out = at(name)
  mkdirSync(out, { recursive: true })
  if (existsSync(join(out, 'done'))) {
    ends[name] = readFileSync(join(out, 'done'), 'utf8')
    continue
  }
  writeFileSync(join(out, 'start.json'), JSON.stringify(config(name, energy)))
  ends[name] = run(
    'train', '--config', join(out, 'start.json'), '--tokenizer', at('tokenizer'),
    '--data', at('train.jsonl'), '--valid', at('valid.jsonl'), '--out', out, '--relabel', '1234',
    '--updates', values.updates, '--batch', '32', '--warmup', '30', '--lr', '4e-3', '--negatives', '4',
    '--validate-every', '80', '--save-every', '80', '--valid-rows', '64',
    '--budgets', budgets.join(), '--backend', 'wasm', ...flags,
  )
  if (ends[name] && !ends[name].includes('collapsed')) stop(ends[name])
  writeFileSync(join(out, 'done'), ends[name])
}

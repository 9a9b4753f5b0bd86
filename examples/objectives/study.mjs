/**
 * The same little model trained with every objective on the same puzzles, then looked at:
 *
 *     npm run build && node examples/objectives/study.mjs [--work DIR] [--updates N]
 *
 * writes the pictures to docs/training/ and the figures into docs/training.md; the models, landscape.json
 * and index.html stay in DIR. Runs that are finished are not repeated; an interrupted study goes on where
 * it was.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: join(tmpdir(), 'basin-objectives') },
    updates: { type: 'string', default: '240' },
  },
})
const project = (path) => new URL(`../../${path}`, import.meta.url).pathname
const basin = project('dist/cli/main.js')
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
  [
    'divergence',
    'head',
    ['--objective', 'contrastive', '--contrast', 'divergence', '--alpha', '10'],
  ],
  ['regularized', 'residual', ['--objective', 'regularized']],
  ['optimize-s1', 'head', ['--objective', 'optimize', '--alpha', '10']],
  [
    'optimize-s2',
    'head',
    // Noise and step size of the published recipe are those of vocabulary space; these are of latent space.
    [
      '--objective',
      'optimize',
      '--stage',
      's2',
      '--steps',
      '2',
      '--repeats',
      '1',
      '--least-repeats',
      '1',
      '--noise',
      '0.1',
      '--alpha',
      '10',
    ],
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
    'train',
    '--config',
    join(out, 'start.json'),
    '--tokenizer',
    at('tokenizer'),
    '--data',
    at('train.jsonl'),
    '--valid',
    at('valid.jsonl'),
    '--out',
    out,
    '--relabel',
    '1234',
    '--updates',
    values.updates,
    '--batch',
    '32',
    '--warmup',
    '30',
    '--lr',
    '4e-3',
    '--negatives',
    '4',
    '--validate-every',
    '80',
    '--save-every',
    '80',
    '--valid-rows',
    '64',
    '--budgets',
    budgets.join(),
    '--backend',
    'wasm',
    ...flags,
  )
  if (ends[name] && !ends[name].includes('collapsed')) stop(ends[name])
  writeFileSync(join(out, 'done'), ends[name])
}

const energetic = runs.map(([name]) => name).filter((name) => name !== 'feed-forward')
const failure = run(
  'landscape',
  '--model',
  ...energetic.map((name) => at(name)),
  '--data',
  at('valid.jsonl'),
  '--out',
  at('landscape'),
  '--rows',
  '32',
  '--grid',
  '21',
  '--backend',
  'wasm',
)
if (failure) stop(failure)
const before = run(
  'landscape',
  '--before',
  '--model',
  at('infonce'),
  at('optimize-s2'),
  at('equilibrium'),
  '--data',
  at('valid.jsonl'),
  '--out',
  at('before'),
  '--rows',
  '32',
  '--grid',
  '21',
  '--backend',
  'wasm',
)
if (before) stop(before)

const { models } = JSON.parse(readFileSync(at('landscape', 'landscape.json'), 'utf8'))
const looks = new Map(energetic.map((name, i) => [name, models[i]]))
const lastOf = (name) => {
  const lines = readFileSync(at(name, 'log.jsonl'), 'utf8').trim().split('\n')
  return JSON.parse(lines.at(-1))
}
const three = (x) => String(Number(x.toPrecision(3)))
const table = (heads, lines) =>
  [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const quality = runs.map(([name]) => {
  const { update, cpuSeconds, scores } = lastOf(name)
  const right = budgets.map((steps) => scores.find((s) => s.steps === steps)?.accuracy)
  return [
    name,
    String(update),
    three(cpuSeconds),
    ...right.map((share) => (share === undefined ? '' : (100 * share).toFixed(1))),
    ends[name] ? 'collapsed' : '',
  ]
})
const landscapes = energetic.map((name) => {
  const { diagnosis: d, slices } = looks.get(name)
  const random = slices.random
  const loss = slices['loss-gradient']
  const figures = [d.spread, d.gap, d.ranked, d.volume, d.firstEnergy, d.lastEnergy]
  const more = [d.firstGradient, d.lastGradient, d.calibration]
  const cut = [random.minima, random.roughness, loss.minima, loss.roughness]
  return [name, ...[...figures, ...more, ...cut].map(three)]
})
const { update } = lastOf('feed-forward')
const written = [
  `Blanks right, in per cent, after so many steps (64 held-out puzzles, ${update} updates):`,
  table(['objective', 'updates', 'CPU seconds', ...budgets.map(String), ''], quality),
  'The energies (32 held-out puzzles, descents of 2 steps):',
  table(
    [
      'objective',
      'spread',
      'gap',
      'ranked',
      'volume',
      'E first',
      'E last',
      'gradient first',
      'last',
      'calibration',
      'minima, random',
      'roughness',
      'minima, loss',
      'roughness',
    ],
    landscapes,
  ),
].join('\n\n')
const doc = project('docs/training.md')
const [head, , tail] = readFileSync(doc, 'utf8').split(/<!-- \/?figures -->/)
writeFileSync(doc, `${head}<!-- figures -->\n\n${written}\n\n<!-- /figures -->${tail}`)
mkdirSync(project('docs/training'), { recursive: true })
for (const picture of ['lines.svg', 'planes.svg'])
  copyFileSync(at('landscape', picture), project(`docs/training/${picture}`))
copyFileSync(at('before', 'planes.svg'), project('docs/training/before-after.svg'))

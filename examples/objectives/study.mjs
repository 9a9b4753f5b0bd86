/**
 * Trains the same small model with every objective on the same puzzles, and compares answers and energies:
 *
 *     npm run build && node examples/objectives/study.mjs [--work DIR] [--updates N]
 *
 * The pictures are written to docs/training/ and the figures into docs/training.md; the models,
 * landscape.json and index.html stay in DIR. Finished runs are not repeated, so that an interrupted study
 * can be continued by the same command.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { columns, threeDigits } from '../../dist/cli/output/landscape-table.js'

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

/** Command-line words of flags: `{ 'valid-rows': 64 }` is `--valid-rows 64`. */
const flagsOf = (flags) =>
  Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])

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

/** Name, energy and flags of each run. Flags that are not named have the defaults of `basin train`. */
const runs = [
  ['feed-forward', 'residual', { objective: 'feed-forward' }],
  ['positives', 'head', { objective: 'positives' }],
  ['infonce', 'head', { objective: 'contrastive', contrast: 'infonce', alpha: 10 }],
  ['hinge', 'head', { objective: 'contrastive', contrast: 'hinge', alpha: 10 }],
  ['divergence', 'head', { objective: 'contrastive', contrast: 'divergence', alpha: 10 }],
  ['regularized', 'residual', { objective: 'regularized' }],
  ['optimize-s1', 'head', { objective: 'optimize', alpha: 10 }],
  [
    'optimize-s2',
    'head',
    // The published noise and step size are for vocabulary space; these are for latent space.
    {
      objective: 'optimize',
      stage: 's2',
      steps: 2,
      repeats: 1,
      'least-repeats': 1,
      noise: 0.1,
      alpha: 10,
    },
  ],
  ['equilibrium', 'residual', { objective: 'equilibrium' }],
  ['amortized', 'residual', { objective: 'amortized', teacher: at('optimize-s2') }],
]

/** Runs `basin`; returns the last line of its error, or '' if it succeeded. */
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
for (const [file, flags] of [
  ['train.jsonl', { count: 4000, seed: 1 }],
  ['valid.jsonl', { count: 256, seed: 2, exclude: at('train.jsonl') }],
]) {
  if (existsSync(at(file))) continue
  const failure = run('tasks', 'sudoku', ...flagsOf({ size: 4, ...flags, out: at(file) }))
  if (failure) stop(failure)
}

/** The error of each run that did not reach its last update, otherwise ''. */
const ends = {}
for (const [name, energy, flags] of runs) {
  const out = at(name)
  mkdirSync(out, { recursive: true })
  if (existsSync(join(out, 'done'))) {
    ends[name] = readFileSync(join(out, 'done'), 'utf8')
    continue
  }
  writeFileSync(join(out, 'start.json'), JSON.stringify(config(name, energy)))
  const common = {
    config: join(out, 'start.json'),
    tokenizer: at('tokenizer'),
    data: at('train.jsonl'),
    valid: at('valid.jsonl'),
    out,
    relabel: '1234',
    updates: values.updates,
    batch: 32,
    warmup: 30,
    lr: 4e-3,
    negatives: 4,
    'validate-every': 80,
    'save-every': 80,
    'valid-rows': 64,
    budgets: budgets.join(),
    backend: 'wasm',
  }
  ends[name] = run('train', ...flagsOf({ ...common, ...flags }))
  if (ends[name] && !ends[name].includes('collapsed')) stop(ends[name])
  writeFileSync(join(out, 'done'), ends[name])
}

/** Draws the landscapes of some of the models to a directory. */
function drawLandscapes(directory, names, ...more) {
  const models = names.map((name) => at(name))
  const flags = {
    data: at('valid.jsonl'),
    out: at(directory),
    rows: 32,
    grid: 21,
    backend: 'wasm',
  }
  const failure = run('landscape', '--model', ...models, ...flagsOf(flags), ...more)
  if (failure) stop(failure)
}

const withEnergy = runs.map(([name]) => name).filter((name) => name !== 'feed-forward')
drawLandscapes('landscape', withEnergy)
drawLandscapes('before', ['infonce', 'optimize-s2', 'equilibrium'], '--before')

const { models } = JSON.parse(readFileSync(at('landscape', 'landscape.json'), 'utf8'))
const landscapes = new Map(withEnergy.map((name, i) => [name, models[i]]))
const lastOf = (name) => {
  const lines = readFileSync(at(name, 'log.jsonl'), 'utf8').trim().split('\n')
  return JSON.parse(lines.at(-1))
}
const table = (heads, lines) =>
  [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const quality = runs.map(([name]) => {
  const { update, cpuSeconds, scores } = lastOf(name)
  const right = budgets.map((steps) => scores.find((s) => s.steps === steps)?.accuracy)
  return [
    name,
    String(update),
    threeDigits(cpuSeconds),
    ...right.map((share) => (share === undefined ? '' : (100 * share).toFixed(1))),
    ends[name] ? 'collapsed' : '',
  ]
})
const landscapeRows = withEnergy.map((name) => [
  name,
  ...columns.map(({ value }) => threeDigits(value(landscapes.get(name)))),
])
const { update } = lastOf('feed-forward')
const written = [
  `Blanks that are right, in per cent, by the number of steps (64 held-out puzzles, ${update} updates):`,
  table(['objective', 'updates', 'CPU seconds', ...budgets.map(String), ''], quality),
  'The energies (32 held-out puzzles, descents of 2 steps):',
  table(['objective', ...columns.map(({ head }) => head)], landscapeRows),
].join('\n\n')
const doc = project('docs/training.md')
const [head, , tail] = readFileSync(doc, 'utf8').split(/<!-- \/?figures -->/)
writeFileSync(doc, `${head}<!-- figures -->\n\n${written}\n\n<!-- /figures -->${tail}`)
mkdirSync(project('docs/training'), { recursive: true })
for (const picture of ['lines.svg', 'planes.svg'])
  copyFileSync(at('landscape', picture), project(`docs/training/${picture}`))
copyFileSync(at('before', 'planes.svg'), project('docs/training/before-after.svg'))

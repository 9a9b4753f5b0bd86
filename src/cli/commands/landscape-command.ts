/** `basin landscape`: figures and pictures of the energies of models around their answers. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { loadBackend, type Backend, type BackendChoice } from '../../energy/tfjs/backend.js'
import { BasinError } from '../../errors.js'
import { openCheckpoint, type Checkpoint } from '../../model/checkpoint.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { diagnose } from '../../train/evaluation/diagnose.js'
import {
  figuresOf,
  sliceBatch,
  type Plane,
  type Slice,
} from '../../train/evaluation/landscape-slices.js'
import { initialWeights } from '../../train/initial-weights.js'
import { openData } from '../../train/data/training-data.js'
import { disposeNetwork, loadNetwork } from '../../energy/tfjs/load-network.js'
import { backendOption, backendThreadsOption, DATA_HELP } from '../options/backend-options.js'
import { integer, real } from '../options/number-parsers.js'
import { landscapePage } from '../output/landscape-page.js'
import {
  drawLines,
  drawPlane,
  gallery,
  LINES_CAPTION,
  PLANES_CAPTION,
} from '../output/landscape-pictures.js'
import { landscapeTable, type LandscapeFigures } from '../output/landscape-table.js'

interface Flags {
  model: string[]
  data: string[]
  out: string
  rows: number
  window: number
  steps?: number
  points: number
  grid: number
  reach: number
  before?: true
  seed: number
  backend: BackendChoice
  threads: number
}

/** One model, either trained or with random weights. */
interface View extends LandscapeFigures {
  lines: Slice[]
  plane: Plane
}

const titles = { random: 'random direction', 'loss-gradient': 'gradient of the loss' }

export function registerLandscape(program: Command): void {
  program
    .command('landscape')
    .description('draw the energies of models around their answers, and print figures of them')
    .requiredOption(
      '--model <directories...>',
      'the models, which must have the same tokenizer; they are shown side by side',
    )
    .requiredOption('--data <files...>', DATA_HELP)
    .requiredOption(
      '--out <directory>',
      'directory for landscape.json, lines.svg, planes.svg and index.html',
    )
    .option('--rows <n>', 'number of windows of text, or of examples', integer(1, 4096), 32)
    .option('--window <tokens>', 'predicted tokens in a window of text', integer(1, 1e6), 32)
    .option('--steps <n>', "number of descent steps (default: the model's own)", integer(0, 4096))
    .option('--points <n>', 'points of a line', integer(3, 4097), 65)
    .option('--grid <n>', 'points along each side of a plane', integer(2, 257), 25)
    .option(
      '--reach <x>',
      'largest distance on a line, in units of the norm of the true answer',
      real(1e-6, 1e6),
      2,
    )
    .option('--before', 'also show each model with random weights, as before training')
    .option('--seed <n>', 'seed of directions and starts', integer(0, 2 ** 31 - 1), 7)
    .addOption(backendOption())
    .addOption(backendThreadsOption())
    .action(landscape)
}

async function landscape(flags: Flags): Promise<void> {
  const backend = await loadBackend(flags.backend, flags.threads)
  console.error(`on ${backend.name}`)
  const views: View[] = []
  for (const directory of flags.model) {
    const trained = openCheckpoint(directory)
    const { config, tensors } = trained
    if (config.feed_forward)
      throw new BasinError('not_supported', {
        param: '--model',
        reason: `${directory} is a feed-forward control and has no energy`,
      })
    const alpha = tensors.get('alpha')?.data[0] as number
    const random = { config, tensors: initialWeights(config, 1, alpha) }
    if (flags.before)
      views.push(await look(backend, directory, random, `${config.name} before`, flags))
    views.push(await look(backend, directory, trained, config.name, flags))
  }
  write(views, flags)
}

async function look(
  { tf }: Backend,
  directory: string,
  checkpoint: Checkpoint,
  name: string,
  flags: Flags,
): Promise<View> {
  const { config } = checkpoint
  const data = openData({
    ...flags,
    valid: flags.data,
    validRows: flags.rows,
    relabel: [],
    strict: true,
    config,
    tokenizer: openTokenizer(directory),
  })
  const [batch] = data.validation
  if (!batch)
    throw new BasinError('invalid_data', { path: flags.data.join(), reason: 'it has no example' })
  const network = loadNetwork(tf, checkpoint)
  const steps = flags.steps ?? config.steps
  const diagnosis = await diagnose(network, batch, { seed: flags.seed, wrong: 16, steps })
  const { lines, plane } = await sliceBatch(network, batch, { ...flags, steps })
  disposeNetwork(network)
  const slices = Object.fromEntries(lines.map((line) => [line.direction, figuresOf(line)]))
  return { name, diagnosis, slices: slices as View['slices'], lines, plane }
}

/** Columns of the gallery of planes; with --before, each model stands beside its random weights. */
const PLANE_COLUMNS = 3
const PLANE_COLUMNS_BEFORE = 2

function write(views: readonly View[], flags: Flags): void {
  mkdirSync(flags.out, { recursive: true })
  const file = (name: string, content: string): void => {
    writeFileSync(join(flags.out, name), content)
  }
  const lines = views.map(({ name, lines: slices }) =>
    slices.map((slice) => drawLines(`${name}: ${titles[slice.direction]}`, slice)),
  )
  const planes = views.map(({ name, plane }) => drawPlane(name, plane))
  const columns = flags.before ? PLANE_COLUMNS_BEFORE : PLANE_COLUMNS
  const rowsOfPlanes = Array.from({ length: Math.ceil(planes.length / columns) }, (_, i) =>
    planes.slice(columns * i, columns * (i + 1)),
  )
  const { data, rows, seed, reach } = flags
  file('landscape.json', `${JSON.stringify({ data, rows, seed, reach, models: views })}\n`)
  file('lines.svg', gallery(LINES_CAPTION, lines))
  file('planes.svg', gallery(PLANES_CAPTION, rowsOfPlanes))
  file('index.html', landscapePage(views, planes, lines.flat()))
  console.log(landscapeTable(views))
}

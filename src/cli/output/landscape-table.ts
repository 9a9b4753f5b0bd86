/** The figures of an energy landscape, with what each means, and a Markdown table of them. */
import type { Diagnosis } from '../../train/evaluation/diagnose.js'
import type { Slice, SliceFigures } from '../../train/evaluation/landscape-slices.js'

/** The figures of one model. */
export interface LandscapeFigures {
  name: string
  diagnosis: Diagnosis
  slices: Record<Slice['direction'], SliceFigures>
}

interface Column {
  head: string
  /** What the figure says, in a sentence. */
  meaning: string
  value: (figures: LandscapeFigures) => number
}

export const columns: readonly Column[] = [
  {
    head: 'spread',
    meaning:
      'Standard deviation of the energy over true and wrong answers to one context: 0 if the energy does not depend on the answer.',
    value: ({ diagnosis }) => diagnosis.spread,
  },
  {
    head: 'gap',
    meaning: 'Mean energy of wrong answers minus that of the true answer.',
    value: ({ diagnosis }) => diagnosis.gap,
  },
  {
    head: 'ranked',
    meaning: 'Share of wrong answers whose energy is above that of the true answer.',
    value: ({ diagnosis }) => diagnosis.ranked,
  },
  {
    head: 'volume',
    meaning: 'Share of random states whose energy is below that of the true answer.',
    value: ({ diagnosis }) => diagnosis.volume,
  },
  {
    head: 'energy, first',
    meaning: 'Mean energy where a descent starts.',
    value: ({ diagnosis }) => diagnosis.firstEnergy,
  },
  {
    head: 'energy, last',
    meaning: 'Mean energy where a descent ends.',
    value: ({ diagnosis }) => diagnosis.lastEnergy,
  },
  {
    head: 'gradient, first',
    meaning: 'Mean norm of the gradient where a descent starts.',
    value: ({ diagnosis }) => diagnosis.firstGradient,
  },
  {
    head: 'gradient, last',
    meaning: 'Mean norm of the gradient where a descent ends.',
    value: ({ diagnosis }) => diagnosis.lastGradient,
  },
  {
    head: 'calibration',
    meaning:
      'Rank correlation of the energies of the answers found with their cross-entropies: 1 if a lower energy always means a better answer.',
    value: ({ diagnosis }) => diagnosis.calibration,
  },
  {
    head: 'minima, random',
    meaning:
      'Local minima on a line in a random direction through the answer found; mean of answers.',
    value: ({ slices }) => slices.random.minima,
  },
  {
    head: 'roughness, random',
    meaning: 'Rises and falls of that line over its range: at most 2 for a line with one minimum.',
    value: ({ slices }) => slices.random.roughness,
  },
  {
    head: 'minima, loss',
    meaning: 'Local minima on a line along the gradient of the loss through the answer found.',
    value: ({ slices }) => slices['loss-gradient'].minima,
  },
  {
    head: 'roughness, loss',
    meaning: 'Rises and falls of that line over its range.',
    value: ({ slices }) => slices['loss-gradient'].roughness,
  },
]

/** Three significant digits. */
export const threeDigits = (value: number): string => String(Number(value.toPrecision(3)))

/** A bar within a cell would end the cell. */
const cellOf = (text: string): string => text.replaceAll('|', '\\|')

export function landscapeTable(models: readonly LandscapeFigures[]): string {
  const rows = [
    ['model', ...columns.map(({ head }) => head)],
    ['---', ...columns.map(() => '---:')],
    ...models.map((model) => [
      model.name,
      ...columns.map(({ value }) => threeDigits(value(model))),
    ]),
  ]
  return rows.map((cells) => `| ${cells.map(cellOf).join(' | ')} |`).join('\n')
}

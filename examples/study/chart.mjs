/** Draws shares against a budget as SVG, by Vega-Lite. */
import * as vega from 'vega'
import { compile } from 'vega-lite'

/** A colour for each data set. Its control is dashed, in a darker shade that shows on the model's line. */
export const setColours = ['#4a90d9', '#e0697a', '#6fa35a']
export const controlColours = ['#0b3c66', '#8c1d2f', '#2f5a22']
/** From few to many: light to dark. */
export const rampColours = ['#9ecae1', '#5aa2d2', '#2171b5', '#08306b']

const lightGrey = '#e8e8e8'
const grey = '#888'
const darkGrey = '#444'
const config = {
  font: 'sans-serif',
  view: { stroke: null },
  title: {
    anchor: 'start',
    fontSize: 13,
    fontWeight: 'normal',
    subtitleColor: darkGrey,
    subtitleFontSize: 12,
    subtitlePadding: 4,
    offset: 10,
  },
  axis: {
    labelColor: darkGrey,
    titleColor: darkGrey,
    titleFontWeight: 'normal',
    domainColor: grey,
    tickColor: grey,
    gridColor: lightGrey,
  },
  legend: {
    title: null,
    labelColor: darkGrey,
    labelFontSize: 11,
    labelLimit: 200,
    symbolType: 'stroke',
    symbolSize: 220,
    symbolStrokeWidth: 2.5,
  },
}

/** Digits after the point with which neighbouring ticks on an axis of this range differ, in per cent. */
const percentDigits = (range) => Math.max(0, Math.ceil(-Math.log10(20 * range)))

/**
 * `series`: {name, colour, points: [[budget, share]]}, or {name, colour, level} for a share that is the same
 * at every budget. The budget's axis is logarithmic and has room for 0. Lines that lie on each other stay
 * visible: the first is the widest, and each is drawn over those before it.
 */
export function chart({ title, subtitle, across }, series) {
  const budgets = [
    ...new Set(series.flatMap(({ points = [] }) => points.map(([budget]) => budget))),
  ].sort((a, b) => a - b)
  const ends = [budgets[0], budgets.at(-1)]
  const curves = series.map(({ points, level, ...rest }) => ({
    ...rest,
    dashed: points === undefined,
    points: points ?? ends.map((budget) => [budget, level]),
  }))
  const shares = curves.flatMap(({ points }) => points.map(([, share]) => share))
  const range = Math.max(...shares) - Math.min(...shares)
  const names = curves.map(({ name }) => name)
  const colours = curves.map(({ colour }) => colour)
  const dashes = curves.map(({ dashed }) => (dashed ? [6, 4] : [1, 0]))
  const layers = curves.flatMap(({ name, dashed, points }, i) => {
    const data = { values: points.map(([budget, share]) => ({ name, budget, share })) }
    const strokeWidth = 2 + 1.5 * (curves.length - 1 - i)
    const line = { data, mark: { type: 'line', strokeWidth } }
    const size = (strokeWidth + 3) ** 2
    return dashed ? [line] : [line, { data, mark: { type: 'circle', size, opacity: 1 } }]
  })
  const byName = { field: 'name', type: 'nominal', sort: null }
  const spec = {
    background: 'white',
    padding: 8,
    width: 320,
    height: 200,
    title: { text: title, subtitle },
    config,
    encoding: {
      x: {
        field: 'budget',
        type: 'quantitative',
        title: across,
        scale: { type: 'symlog', constant: 1, nice: false, domain: ends },
        axis: { values: budgets, grid: false },
      },
      y: {
        field: 'share',
        type: 'quantitative',
        title: null,
        scale: { zero: false, nice: true },
        axis: { format: `.${percentDigits(range)}%`, tickCount: 6 },
      },
      color: { ...byName, scale: { domain: names, range: colours } },
      strokeDash: { ...byName, scale: { domain: names, range: dashes } },
    },
    layer: layers,
  }
  return new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' }).toSVG()
}

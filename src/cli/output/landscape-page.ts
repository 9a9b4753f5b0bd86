/** The pictures and figures of energy landscapes as one HTML page, without scripts or other files. */
import { escapeHtml, LINES_CAPTION, PICTURE_WIDTH, PLANES_CAPTION } from './landscape-pictures.js'
import { columns, threeDigits, type LandscapeFigures } from './landscape-table.js'

const STYLE = `
body{font:15px/1.5 sans-serif;max-width:1060px;margin:1.5em auto;padding:0 1em;color:#222}
h2{margin-top:2em}
.table{overflow-x:auto}
table{border-collapse:collapse;font-size:13px}
td,th{padding:.3em .7em;text-align:right;border-bottom:1px solid #ddd;vertical-align:top}
td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}
td:nth-child(2){min-width:16em;color:#555}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,${PICTURE_WIDTH}px),1fr));gap:.5em}
.pictures svg{max-width:100%;height:auto}
`

const INTRODUCTION = [
  'The energy is a function of the answer: low where the model takes an answer to be good. An answer is found by descent, step by step towards lower energy.',
  'A useful energy has lower values for true answers than for wrong ones (spread, gap, ranked), few other places that are as low (volume), values and gradients that fall during a descent, and low values for good answers (calibration). A line or a plane through the answer found shows how smooth it is around there.',
  'Distances are in units of the norm of the true answer.',
]

const paragraphs = (lines: readonly string[]): string =>
  lines.map((line) => `<p>${escapeHtml(line)}</p>`).join('\n')

const row = (cells: readonly string[], tag: 'td' | 'th'): string =>
  `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`

/** A row for each figure, a column for each model. */
function figuresTable(models: readonly LandscapeFigures[]): string {
  const head = row(['figure', 'meaning', ...models.map(({ name }) => name)], 'th')
  const rows = columns.map(({ head: name, meaning, value }) =>
    row([name, meaning, ...models.map((model) => threeDigits(value(model)))], 'td'),
  )
  return `<div class="table"><table>${head}\n${rows.join('\n')}</table></div>`
}

const pictures = (drawn: readonly string[]): string =>
  `<div class="pictures">\n${drawn.join('\n')}\n</div>`

export function landscapePage(
  models: readonly LandscapeFigures[],
  planes: readonly string[],
  lines: readonly string[],
): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Energy landscapes</title>
<style>${STYLE}</style>
<h1>Energy landscapes</h1>
${paragraphs(INTRODUCTION)}
<h2>Planes</h2>
${paragraphs(PLANES_CAPTION)}
${pictures(planes)}
<h2>Lines</h2>
${paragraphs(LINES_CAPTION)}
${pictures(lines)}
<h2>Figures</h2>
${figuresTable(models)}
</html>
`
}

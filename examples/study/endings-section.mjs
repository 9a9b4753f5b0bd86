/** The section of docs/thinking.md on endings of stories, from the figures that endings.mjs has recorded. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { table } from './report-table.mjs'

const introduction = (stories) => `## True endings

Which of four sentences ends a story: the true one, among the last sentences of three other stories, or among three that the model
wrote itself (temperature 0.7). ${stories} stories of a held-out text, by \`stories\`; chance is 25 %. The share of stories for which the
true ending fits best:

- \`readout\`: its tokens have the highest probability after so many steps (0: the causal draft). \`sum\`: of the whole ending; \`mean\`: per
  token; \`gain\`: the sum less that of the same ending without the story before it.
- \`energy\`: the energy of the representation of its tokens is lowest.`

const conclusion = `A standard error is 4.5 points, so descent does not read measurably better than the draft. What tells endings apart is how much the story before them
explains. The energy of given tokens is near chance: a residual energy of one token rates points of the latent space that descent reaches, and the
embeddings of tokens are not among them. The model's own sentences are more probable to it than true ones, so a sum or a mean prefers them nearly always.

    npm run build && node examples/study/endings.mjs models/stories TEXT 120 --record`

export function endingsSection(docs) {
  const path = join(docs, 'thinking', 'endings.json')
  if (!existsSync(path)) return []
  const { kinds, right, stories } = JSON.parse(readFileSync(path, 'utf8'))
  const percent = (count) => `${((100 * count) / stories).toFixed(1)} %`
  const measures = [
    ...new Set(Object.keys(right[kinds[0]]).map((name) => name.replace(/, \w+$/, ''))),
  ]
  const ways = ['sum', 'mean', 'gain']
  const heads = ['measure', ...kinds.flatMap((kind) => ways.map((way) => `${kind}: ${way}`))]
  const lines = measures.map((measure) => [
    measure,
    ...kinds.flatMap((kind) => ways.map((way) => percent(right[kind][`${measure}, ${way}`]))),
  ])
  return [introduction(stories), table(heads, lines), conclusion]
}

/** The results of `basin evaluate` as Markdown tables. */
import type {
  DiscriminationAreas,
  BudgetScore,
  ChoiceScore,
} from '../../train/evaluation/answer-scores.js'

/** The scores at one budget. */
export interface EvaluatedBudget extends BudgetScore {
  bitsPerByte?: number
  /** How well the energy, and each of its parts, separates right answers from wrong ones. */
  judge: DiscriminationAreas
  /** What choosing among the first 2, 4, ... candidates gives. */
  choices: ChoiceScore[]
}

export interface EvaluatedClass {
  /** The values of the figure of difficulty in this class. */
  label: string
  answers: number
  budgets: { steps: number; solved: number; judge: DiscriminationAreas; choices: ChoiceScore[] }[]
}

export interface Evaluation {
  name: string
  parameters: number
  answers: number
  scores: EvaluatedBudget[]
  classes?: EvaluatedClass[]
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`
const area = (value: number | null | undefined): string =>
  value === null || value === undefined ? '-' : value.toFixed(4)

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, i) =>
    Math.max(9, head.length, ...rows.map((row) => (row[i] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padStart(widths[i] as number)).join(' | ')} |`
  return [line(heads), line(heads.map(() => '---:')), ...rows.map(line)].join('\n')
}

function qualityTable(scores: readonly EvaluatedBudget[]): string {
  const text = scores.some((s) => s.bitsPerByte !== undefined)
  return table(
    ['steps', ...(text ? ['bits/byte'] : []), 'nats', 'right', 'whole', 'energy'],
    scores.map((s) => [
      String(s.steps),
      ...(text ? [(s.bitsPerByte ?? NaN).toFixed(4)] : []),
      s.nats.toFixed(4),
      percent(s.accuracy),
      percent(s.solved),
      s.energy.toFixed(4),
    ]),
  )
}

function areaTable(scores: readonly EvaluatedBudget[]): string {
  const parts = scores.some(({ judge }) => judge.doubt !== undefined)
  return table(
    ['steps', 'energy', ...(parts ? ['disagreement', 'doubt'] : [])],
    scores.map(({ steps, judge }) => [
      String(steps),
      area(judge.energy),
      ...(parts ? [area(judge.disagreement), area(judge.doubt)] : []),
    ]),
  )
}

function choiceTable(
  scores: readonly { steps: number; choices: readonly ChoiceScore[] }[],
): string {
  return table(
    ['steps', 'candidates', 'by energy', 'at random', 'best'],
    scores.flatMap(({ steps, choices }) =>
      choices.map(({ candidates, byEnergy, atRandom, best }) => [
        String(steps),
        String(candidates),
        percent(byEnergy),
        percent(atRandom),
        percent(best),
      ]),
    ),
  )
}

/** The last two columns are those of the largest budget. */
function classTable(fact: string, classes: readonly EvaluatedClass[]): string {
  const steps = classes[0]?.budgets.map((budget) => budget.steps) ?? []
  const candidates = classes[0]?.budgets.at(-1)?.choices.at(-1)?.candidates
  return table(
    [
      fact,
      'answers',
      ...steps.map((count) => `${count} steps`),
      ...(candidates === undefined ? [] : [`of ${candidates}`]),
      'area',
    ],
    classes.map(({ label, answers, budgets }) => [
      label,
      String(answers),
      ...budgets.map(({ solved }) => percent(solved)),
      ...(candidates === undefined ? [] : [percent(budgets.at(-1)?.choices.at(-1)?.byEnergy ?? 0)]),
      area(budgets.at(-1)?.judge.energy),
    ]),
  )
}

export function describeEvaluation(evaluation: Evaluation, by: string | undefined): string {
  const { name, parameters, answers, scores, classes } = evaluation
  const hasAreas = scores.some(({ judge }) => judge.energy !== null)
  return [
    `${name}, ${(parameters / 1e6).toFixed(2)}M parameters, ${answers} answers`,
    qualityTable(scores),
    ...(hasAreas
      ? ['', 'Right answers against wrong ones by energy, area under the curve:', areaTable(scores)]
      : []),
    ...(scores[0]?.choices.length
      ? [
          '',
          'Answers that are wholly right, one of several candidates chosen:',
          choiceTable(scores),
        ]
      : []),
    ...(classes && by !== undefined
      ? ['', `Answers that are wholly right, by ${by}:`, classTable(by, classes)]
      : []),
    '',
  ].join('\n')
}

/**
 * Figures of answers whose truth is known: how many are right, whether the energy tells right from
 * wrong, and what choosing among candidates by energy gains. Pure; knows no tensor and no model.
 */
import { mean } from './statistics.js'

/** What one candidate's answer scored at one budget. */
export interface AnswerScore {
  energy: number
  /** Residual energy only. */
  disagreement?: number
  doubt?: number
  /** Summed over moving positions. */
  nats: number
  right: number
  /** Right in every moving position. */
  solved: boolean
}

/** One answer of the data, as every candidate gave it at every budget. */
export interface ScoredAnswer {
  /** Positions that were to be inferred. */
  moving: number
  /** Figures of difficulty from the data. */
  facts: Readonly<Record<string, number>>
  /** [budgets][candidates] */
  scores: readonly (readonly AnswerScore[])[]
}

/** Means over answers and candidates: what one candidate at random gives. */
export interface BudgetScore {
  steps: number
  /** Cross-entropy per moving position, nats. */
  nats: number
  /** Share of moving positions whose most probable token is right. */
  accuracy: number
  /** Share of answers right in every moving position. */
  solved: number
  /** Mean energy of the answers that are scored. */
  energy: number
}

/** Areas under the curve of right against wrong; null where all answers are right, or all wrong. */
export interface DiscriminationAreas {
  energy: number | null
  disagreement?: number | null
  doubt?: number | null
}

/** Share of answers solved by one of the first `candidates`. */
export interface ChoiceScore {
  candidates: number
  /** The one of lowest energy. */
  byEnergy: number
  /** One at random, in expectation. */
  atRandom: number
  /** The best possible one: whether any is right. */
  best: number
}

export function budgetScore(
  answers: readonly ScoredAnswer[],
  steps: number,
  budget: number,
): BudgetScore {
  const scores = answers.flatMap((answer) => answer.scores[budget] as readonly AnswerScore[])
  const total = (of: (score: AnswerScore) => number) =>
    scores.reduce((sum, score) => sum + of(score), 0)
  const moving = answers.reduce(
    (sum, answer) => sum + answer.moving * (answer.scores[budget]?.length ?? 0),
    0,
  )
  return {
    steps,
    nats: total(({ nats }) => nats) / moving,
    accuracy: total(({ right }) => right) / moving,
    solved: total(({ solved }) => Number(solved)) / scores.length,
    energy: total(({ energy }) => energy) / scores.length,
  }
}

/**
 * The chance that a right answer has a lower value than a wrong one, ties counted half; null where
 * there are none of either kind.
 */
export function areaUnderCurve(
  values: readonly number[],
  right: readonly boolean[],
): number | null {
  const order = values
    .map((_, i) => i)
    .sort((i, j) => (values[i] as number) - (values[j] as number))
  let won = 0
  let wrongBelow = 0
  for (let from = 0; from < order.length;) {
    const value = values[order[from] as number]
    let [rightHere, wrongHere] = [0, 0]
    for (; from < order.length && values[order[from] as number] === value; from++)
      if (right[order[from] as number]) rightHere++
      else wrongHere++
    // Every wrong answer below a right one is a pair lost; those of equal value are half lost.
    won -= rightHere * (wrongBelow + wrongHere / 2)
    wrongBelow += wrongHere
  }
  const rights = right.filter(Boolean).length
  const pairs = rights * (right.length - rights)
  return pairs === 0 ? null : 1 + won / pairs
}

export function discriminationAreas(
  answers: readonly ScoredAnswer[],
  budget: number,
): DiscriminationAreas {
  const scores = answers.flatMap((answer) => answer.scores[budget] as readonly AnswerScore[])
  const right = scores.map(({ solved }) => solved)
  const areaOf = (of: (score: AnswerScore) => number) => areaUnderCurve(scores.map(of), right)
  const energy = areaOf((score) => score.energy)
  if (scores[0]?.doubt === undefined) return { energy }
  return {
    energy,
    disagreement: areaOf(({ disagreement }) => disagreement as number),
    doubt: areaOf(({ doubt }) => doubt as number),
  }
}

const lowest = (scores: readonly AnswerScore[]): AnswerScore =>
  scores.reduce((least, score) => (score.energy < least.energy ? score : least))

export const choiceScore = (
  answers: readonly ScoredAnswer[],
  budget: number,
  candidates: number,
): ChoiceScore => {
  const share = (of: (scores: readonly AnswerScore[]) => number) =>
    mean(
      answers.map(({ scores }) =>
        of((scores[budget] as readonly AnswerScore[]).slice(0, candidates)),
      ),
    )
  return {
    candidates,
    byEnergy: share((scores) => Number(lowest(scores).solved)),
    atRandom: share((scores) => mean(scores.map(({ solved }) => Number(solved)))),
    best: share((scores) => Number(scores.some(({ solved }) => solved))),
  }
}

/** Answers of which a figure of difficulty lies in one range. */
export interface DifficultyClass {
  /** "26" or "26 to 30". */
  label: string
  answers: ScoredAnswer[]
}

/** Up to so many different values are classes of their own. */
const SINGLE_VALUES = 12
/** Else the values are cut into so many ranges of equal width. */
const RANGES = 8

/** Classes in rising order of a figure; answers that do not have it are left out. */
export function classesBy(answers: readonly ScoredAnswer[], fact: string): DifficultyClass[] {
  const having = answers.filter(({ facts }) => facts[fact] !== undefined)
  const values = having.map(({ facts }) => facts[fact] as number)
  const different = [...new Set(values)].sort((a, b) => a - b)
  const [least, most] = [different[0] ?? 0, different.at(-1) ?? 0]
  const width =
    different.length <= SINGLE_VALUES
      ? 0
      : different.every(Number.isInteger)
        ? Math.ceil((most - least + 1) / RANGES)
        : (most - least) / RANGES
  const placeOf = (value: number) =>
    width === 0
      ? different.indexOf(value)
      : Math.min(Math.floor((value - least) / width), RANGES - 1)
  const classes = new Map<number, { values: number[]; answers: ScoredAnswer[] }>()
  having.forEach((answer, i) => {
    const value = values[i] as number
    const found = classes.get(placeOf(value)) ?? { values: [], answers: [] }
    found.values.push(value)
    found.answers.push(answer)
    classes.set(placeOf(value), found)
  })
  return [...classes]
    .sort(([a], [b]) => a - b)
    .map(([, found]) => {
      const [low, high] = [Math.min(...found.values), Math.max(...found.values)]
      return { label: low === high ? String(low) : `${low} to ${high}`, answers: found.answers }
    })
}

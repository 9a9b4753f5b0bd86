/**
 * Figures of answers whose true tokens are known: how many are right, how well the energy separates
 * right answers from wrong ones, and what is gained by choosing among candidates by energy. All
 * functions are pure; this file knows no tensors and no model.
 */
import { mean } from './statistics.js'

/** How good the answer of one candidate is at one budget. */
export interface AnswerScore {
  energy: number
  /** The two parts of a residual energy; absent for other energies. */
  disagreement?: number
  doubt?: number
  /** Cross-entropy, summed over the moving positions. */
  nats: number
  /** Number of moving positions whose most probable token is right. */
  right: number
  /** Right in every moving position. */
  solved: boolean
}

/** One answer of the data, with the scores of all candidates at all budgets. */
export interface ScoredAnswer {
  /** Number of positions that were to be inferred. */
  moving: number
  /** Figures of difficulty that the data gives, by name. */
  facts: Readonly<Record<string, number>>
  /** [budgets][candidates] */
  scores: readonly (readonly AnswerScore[])[]
}

/** Means over answers and candidates, which is what one candidate at random is expected to give. */
export interface BudgetScore {
  steps: number
  /** Cross-entropy per moving position, nats. */
  nats: number
  /** Share of moving positions whose most probable token is right. */
  accuracy: number
  /** Share of answers right in every moving position. */
  solved: number
  /** Mean energy of the answers. */
  energy: number
}

/**
 * Areas under the receiver operating characteristic: how well an energy, or a part of it, separates
 * right answers from wrong ones. Null if all answers are right, or all are wrong.
 */
export interface DiscriminationAreas {
  energy: number | null
  disagreement?: number | null
  doubt?: number | null
}

/** Share of answers that are solved if one of the first `candidates` is chosen. */
export interface ChoiceScore {
  candidates: number
  /** The candidate of lowest energy is chosen. */
  byEnergy: number
  /** A candidate is chosen at random; the expected share. */
  atRandom: number
  /** A right candidate is chosen wherever there is one. */
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
 * The probability that a right answer has a lower value than a wrong one, where equal values count
 * half. Null if there are no right answers, or no wrong ones.
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
    // A wrong answer below a right one is a lost pair; one of equal value is half a lost pair.
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

/** Answers whose figure of difficulty lies in one range. */
export interface DifficultyClass {
  /** "26" or "26 to 30". */
  label: string
  answers: ScoredAnswer[]
}

/** If a figure has at most so many different values, each of them is a class. */
const MAX_SINGLE_VALUES = 12
/** Otherwise its values are divided into so many ranges of equal width. */
const RANGES = 8

/** Classes in rising order of a figure. Answers that do not have the figure are left out. */
export function classesBy(answers: readonly ScoredAnswer[], fact: string): DifficultyClass[] {
  const having = answers.filter(({ facts }) => facts[fact] !== undefined)
  const values = having.map(({ facts }) => facts[fact] as number)
  const different = [...new Set(values)].sort((a, b) => a - b)
  const [least, most] = [different[0] ?? 0, different.at(-1) ?? 0]
  const width =
    different.length <= MAX_SINGLE_VALUES
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

/**
 * The terms of a request at work on one answer: what they say of each state of a candidate, which state is
 * kept as its best, and what its next step is pushed by. The engine keeps a best answer by the energy of the
 * model alone, which is not the one that is wanted where terms are required, so it is kept here, as logits.
 * Makes no call of the engine and knows no text.
 */
import type { Push, StepResult } from '../../../energy/engine.js'
import type { ModelConfig } from '../../../model/config.js'
import { compose, type Composed, resultOf } from '../../../refine/terms/composed.js'
import type { ModelReading } from '../../../refine/terms/model-energy.js'
import { chancesOf } from '../../../refine/terms/reading.js'
import { isBetter, judgedEnergy, type Standing } from '../../../refine/terms/standing.js'
import type { TermResult, WeightedTerm } from '../../../refine/terms/term.js'
import { type AnswerShape, BLANK } from './answer-shape.js'

/** What terms are told of one state. */
interface StateReading {
  /** [K, V] */
  logits: Float32Array
  /** [K, D], where a term is of the representation. */
  points?: Float32Array
  /** What other models say of it, by the places of their terms. */
  models?: ReadonlyMap<number, ModelReading>
}

/** What is read of a candidate for its terms: of the answer after the latest step. */
export interface TermReading extends StateReading {
  /** The same of the state where the next step begins, where it is not the answer: exact residual energies. */
  present?: StateReading
}

/** A state that was read, and what terms say of it. */
interface ReadState {
  logits: Float32Array
  composed: Composed
}

/** What the terms know of one candidate. */
export interface CandidateTerms {
  latest: ReadState | undefined
  /** Of its present descent: stop rules judge by it. */
  descentBest: Standing | undefined
  /** Of all its descents, as it would be read. */
  best: (ReadState & { standing: Standing }) | undefined
  /** For the next step. */
  push: Push | undefined
  /** E_model and all terms, of the state that was judged last. */
  total: number
}

export const nothingRead = (): CandidateTerms => ({
  latest: undefined,
  descentBest: undefined,
  best: undefined,
  push: undefined,
  total: NaN,
})

export class AnswerTerms {
  /** E_k of a step is the energy of what that step reads out, not of the state before it. */
  private readonly residual: boolean

  constructor(
    readonly weighted: readonly WeightedTerm[],
    private readonly shape: AnswerShape,
    /** Tokens of the completion before this answer. */
    readonly before: readonly number[],
    /** No answer follows this one. */
    private readonly last: boolean,
    private readonly model: Pick<ModelConfig, 'answer' | 'energy' | 'vocab_size'>,
  ) {
    this.residual = model.energy.kind === 'residual'
  }

  /** The state at which a descent of a candidate begins. */
  begin(of: CandidateTerms, reading: TermReading): void {
    of.descentBest = undefined
    this.look(of, reading)
  }

  /**
   * Takes in a step. `before`: the steps before it; a start may become the answer only where it is a draft.
   * Returns the result with the best energy that stop rules are to judge by.
   */
  step(of: CandidateTerms, result: StepResult, reading: TermReading, before: number): StepResult {
    if (this.residual) {
      this.look(of, reading)
      this.keep(of, result.energy)
    } else {
      if (before > 0 || this.model.answer.start === 'draft') this.keep(of, result.energy)
      this.look(of, reading)
    }
    return { ...result, best: judgedEnergy(of.descentBest) }
  }

  /** The energy of the latest state became known without a step. Returns what stop rules judge by. */
  close(of: CandidateTerms, energy: number): number {
    this.keep(of, energy)
    return judgedEnergy(of.descentBest)
  }

  /** Another question is asked: what was kept answers the one before. */
  forget(of: CandidateTerms): void {
    Object.assign(of, nothingRead())
  }

  /** Of the state that is returned, for the tokens that were chosen. `whole`: they are all there will be. */
  finalResults(of: CandidateTerms, tokens: readonly number[], whole: boolean): TermResult[] {
    const results = (of.best ?? of.latest)?.composed.results ?? []
    return this.weighted.map((weighted, k) => {
      const holds = weighted.term.of === 'tokens' ? weighted.term.holds?.(tokens, whole) : true
      return resultOf(weighted, results[k]?.value ?? 0, holds)
    })
  }

  private keep(of: CandidateTerms, energy: number): void {
    const { latest } = of
    if (!latest) return
    const { holds, results } = latest.composed
    const optional = this.weighted.reduce(
      (sum, { required, weight }, k) => (required ? sum : sum + weight * (results[k]?.value ?? 0)),
      0,
    )
    const standing = {
      energy,
      ranked: energy + optional,
      total: energy + latest.composed.energy,
      holds,
    }
    of.total = standing.total
    if (isBetter(standing, of.descentBest)) of.descentBest = standing
    if (isBetter(standing, of.best?.standing)) of.best = { ...latest, standing }
  }

  /** What a step from a state is pushed by. */
  pushAt(reading: TermReading): Push {
    return this.compose(reading.present ?? reading).gradient
  }

  private look(of: CandidateTerms, reading: TermReading): void {
    const composed = this.compose(reading)
    of.latest = { logits: reading.logits, composed }
    of.push = reading.present ? this.pushAt(reading) : composed.gradient
  }

  private compose({ logits, models, points }: StateReading): Composed {
    const { vocab_size: vocab } = this.model
    const { clamped, length } = this.shape
    const moving: number[] = []
    for (let i = 0; i < length; i++) if ((clamped?.[i] ?? BLANK) === BLANK) moving.push(i)
    const { chances, tokens } = chancesOf(logits, vocab)
    const reading = { before: this.before, length, chances, vocab, last: this.last }
    return compose(this.weighted, {
      reading,
      tokens,
      moving,
      ...(points && { points }),
      ...(models && { models }),
    })
  }
}

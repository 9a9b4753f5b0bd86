/**
 * A term of a composed energy: E_total(y) = E_model(c, y) + sum_k w_k T_k (docs/composition.md). Terms are
 * pure functions of numbers; whoever makes them has turned texts into tokens.
 */
import type { ModelTerm } from './model-energy.js'
import type { Reading, Slope } from './reading.js'

export const termTypes = [
  'distinct',
  'sum',
  'compare',
  'token',
  'contains',
  'count',
  'similar',
  'model',
] as const
export type TermType = (typeof termTypes)[number]

/** A function of the read-out p. */
export interface TokenTerm {
  readonly of: 'tokens'
  readonly type: TermType
  /** T(p); adds dT/dp to `slope`. 0 where positions that do not exist yet decide. */
  evaluate(reading: Reading, slope?: Slope): number
  /**
   * Whether the tokens of a completion obey the rule. `whole`: no token follows; before that, a rule holds
   * as long as tokens to come can still obey it. Absent: there is nothing but the value to judge by.
   */
  holds?(tokens: readonly number[], whole: boolean): boolean
}

/** A function of the representation: the mean of an answer's points over its moving positions, [D]. */
export interface PointTerm {
  readonly of: 'point'
  readonly type: TermType
  /** T and dT/d(mean), [D]. */
  evaluate(mean: Float64Array): { value: number; gradient: Float64Array }
}

export interface WeightedTerm {
  readonly term: TokenTerm | PointTerm | ModelTerm
  /** w: energy for each unit of the term; negative weights push away. */
  readonly weight: number
  /** No answer counts that does not satisfy it. */
  readonly required: boolean
  /** The largest value that satisfies it. Absent: the value does not decide. */
  readonly tolerance?: number
}

/** What a step or a result says of a term. */
export interface TermResult {
  type: TermType
  value: number
  satisfied: boolean
}

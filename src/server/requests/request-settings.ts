/** From the settings of an HTTP request or a frame to those of a request for an engine. Knows no transport. */
import type { Static, TObject } from 'typebox'
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import { resolveBudget } from '../../refine/presets.js'
import type { Sampling } from '../../refine/sampling.js'
import type { Limits } from '../limits.js'
import { grammarOf } from './request-grammar.js'
import type { settings } from '../schemas/settings-schema.js'
import type { StructureFields } from '../schemas/structure-schema.js'
import { termsFrom } from './energy-terms.js'
import { positionTerms } from './position-terms.js'

export type Settings = Static<TObject<typeof settings>> & Pick<StructureFields, 'implied' | 'text'>

/** 48 random bits. */
function randomSeed(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2))
  return (high >>> 16) * 2 ** 32 + low
}

/** OpenAI's default of `max_tokens` for completions. */
const DEFAULT_MAX_TOKENS = 16

function logitBias(asked: Settings, model: ModelConfig): Readonly<Record<number, number>> {
  const bias = asked.logit_bias ?? {}
  const unknown = Object.keys(bias).find((token) => Number(token) >= model.vocab_size)
  if (unknown === undefined) return bias
  throw new BasinError('out_of_range', {
    param: `logit_bias.${unknown}`,
    bound: `a token from 0 to ${model.vocab_size - 1}`,
    value: unknown,
  })
}

const sampling = (asked: Settings, model: ModelConfig): Sampling => ({
  temperature: asked.temperature ?? model.temperature ?? 1,
  topP: asked.top_p ?? 1,
  topK: Math.max(0, asked.top_k ?? 0),
  seed: asked.seed ?? randomSeed(),
  ...(asked.min_p && { minP: asked.min_p }),
  ...(asked.repetition_penalty && { repetitionPenalty: asked.repetition_penalty }),
  presencePenalty: asked.presence_penalty ?? 0,
  frequencyPenalty: asked.frequency_penalty ?? 0,
  logitBias: logitBias(asked, model),
})

/** The most tokens in whole answers that fit into the context after `promptTokens`, at least 1. */
export function roomAfter(
  promptTokens: number,
  { answer, context_length: length }: ModelConfig,
): number {
  return Math.max(1, Math.floor((length - promptTokens - 1) / answer.block) * answer.block)
}

/** What compares the energy of the model alone, or keeps another state than the best. */
function refuseWithTerms(refinement: Settings['refinement']): void {
  const { accept_lower: lower, keep, line_search: search } = refinement ?? {}
  const refuse = (field: string, reason: string) => {
    throw new BasinError('not_supported', { param: `refinement.${field}`, reason })
  }
  const judging = "it judges by the model's energy alone; leave it or energy_terms out"
  if (lower) refuse('accept_lower', judging)
  if (search) refuse('line_search', judging)
  if (keep === 'last') refuse('keep', 'with energy_terms the best state is returned')
}

/** The part of an engine's request that follows from settings. Throws `out_of_range` naming the field. */
export function requestFrom(
  asked: Settings,
  model: ModelConfig,
  limits: Pick<Limits, 'caps' | 'terms'>,
): Omit<EngineRequest, 'id' | 'prompt' | 'client' | 'reportSteps' | 'hold'> {
  const { stop, template, logprobs } = asked
  const structure = grammarOf(asked, model)
  const filled = structure && model.template?.length !== undefined
  const grammar = filled ? undefined : structure
  const wanted = [...(asked.energy_terms ?? []), ...(filled ? positionTerms(structure, model) : [])]
  const terms = wanted.length > 0 ? termsFrom(wanted, limits.terms) : undefined
  if (terms) refuseWithTerms(asked.refinement)
  // A grammar chooses tokens one after the other, so a model's own commits would run ahead of it.
  const refinement = grammar ? { commit: null, ...asked.refinement } : asked.refinement
  return {
    maxTokens: asked.max_tokens ?? DEFAULT_MAX_TOKENS,
    sampling: sampling(asked, model),
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
    budget: resolveBudget(
      model,
      asked.reasoning_effort ?? undefined,
      refinement ?? undefined,
      limits.caps,
    ),
    ...(typeof template === 'string' && { template }),
    ...(typeof logprobs === 'number' && { logprobs }),
    ...(grammar && { grammar }),
    ...(terms && { terms }),
  }
}

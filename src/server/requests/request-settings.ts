/** From the settings of an HTTP request or a frame to those of a request for an engine. Knows no transport. */
import type { Static, TObject } from 'typebox'
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import { type Caps, resolveBudget } from '../../refine/presets.js'
import type { Sampling } from '../../refine/sampling.js'
import type { settings } from '../schemas/settings-schema.js'

export type Settings = Static<TObject<typeof settings>>

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
  topK: asked.top_k ?? 0,
  seed: asked.seed ?? randomSeed(),
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

/** The part of an engine's request that follows from settings. Throws `out_of_range` naming the field. */
export function requestFrom(
  asked: Settings,
  model: ModelConfig,
  caps: Caps,
): Omit<EngineRequest, 'id' | 'prompt' | 'client' | 'reportSteps' | 'hold'> {
  const { stop, template, logprobs } = asked
  return {
    maxTokens: asked.max_tokens ?? DEFAULT_MAX_TOKENS,
    sampling: sampling(asked, model),
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
    budget: resolveBudget(
      model,
      asked.reasoning_effort ?? undefined,
      asked.refinement ?? undefined,
      caps,
    ),
    ...(typeof template === 'string' && { template }),
    ...(typeof logprobs === 'number' && { logprobs }),
  }
}
